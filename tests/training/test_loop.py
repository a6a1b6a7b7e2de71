"""The training step and its epochs: what happens in which order, and what stops a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from clipmax.refusal import Refusal
from tests.training import tiny
from training import loop, metrics, observation, run
from training.config import Run
from training.data.dataset import Dataset
from training.features import columns
from training.loop import NonFiniteError, Progress


def _begin(folder: Path, *overrides: str) -> tuple[Run, Dataset, Progress]:
    settings, dataset = tiny.dataset(folder, *overrides)
    return settings, dataset, run.start(settings, dataset)


def _batch(dataset: Dataset, rows: slice = slice(0, 32)) -> tuple[list[Tensor], Tensor]:
    labels = torch.from_numpy(dataset.train.labels[rows])
    return [column.clone() for column in columns.tensors(dataset.inputs, dataset.train, rows)], labels


def _state(progress: Progress) -> dict[str, Tensor]:
    tensors = {f"model/{name}": value for name, value in progress.model.state_dict().items()}
    for index, values in progress.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in values.items() if torch.is_tensor(value)}
    return {name: value.clone() for name, value in tensors.items()}


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def _poison(dataset: Dataset, rows: list[int]) -> Dataset:
    """The same data, a NaN in these training rows, as no reader would let it through."""
    images = dataset.train.columns["image"].astype(np.float32)
    images[rows, 2, 3] = np.nan
    return replace(dataset, train=replace(dataset.train, columns={"image": images}))


def test_the_gradient_is_clipped_before_the_step(tmp_path: Path) -> None:
    """With plain SGD the weights move by exactly rate x limit; clipped after the step they would move further."""
    sgd = ["optimizer.name=sgd", "optimizer.learning_rate=0.5", "clipping.limit=0.001"]
    settings, dataset, progress = _begin(tmp_path, *sgd)
    before = _state(progress)
    figures = loop.train_step(progress, settings, *_batch(dataset), step=0)
    after = _state(progress)
    moved = torch.cat([(after[name] - before[name]).flatten() for name in before]).double().norm().item()
    assert moved == pytest.approx(0.5 * 0.001, rel=1e-3)
    assert figures.norm > 0.1
    assert figures.fired


def test_a_gradient_of_the_step_before_does_not_count(tmp_path: Path) -> None:
    """Two steps on the same rows at rate zero see the same gradient."""
    settings, dataset, progress = _begin(tmp_path, "model.dropout=0.0", "clipping.limit=1000.0")
    batch = _batch(dataset)
    for group in progress.optimizer.param_groups:
        group["lr"] = 0.0
    norms = [loop.train_step(progress, settings, *batch, step=step).norm for step in range(3)]
    assert norms[0] == norms[1] == norms[2]


@pytest.mark.parametrize("rule", ["none", "value", "norm", "autoclip", "zclip"])
def test_nan_in_a_batch_is_named_and_changes_nothing(rule: str, tmp_path: Path) -> None:
    """Step, loss, tensor and norm are in the message; weights and optimizer are as they were."""
    settings, dataset, progress = _begin(tmp_path, f"clipping.rule={rule}")
    loop.train_step(progress, settings, *_batch(dataset), step=0)
    before = _state(progress)
    (images,), labels = _batch(dataset)
    poisoned = images.float()
    poisoned[5, 0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match=r"loss nan, gradient of mlp\.\S+ \(norm nan\) in step 17"):
        loop.train_step(progress, settings, [poisoned], labels, step=17)
    assert _same(before, _state(progress))


def test_a_weight_that_is_not_finite_is_seen_in_the_next_step(tmp_path: Path) -> None:
    """Whatever brought it there."""
    settings, dataset, progress = _begin(tmp_path)
    with torch.no_grad():
        next(iter(progress.model.parameters()))[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="loss nan"):
        loop.train_step(progress, settings, *_batch(dataset), step=0)


def test_gradients_that_overflow_only_together_are_named(tmp_path: Path) -> None:
    """Each tensor's norm is finite, their common one is not: still a sentence with a number."""
    _, _, progress = _begin(tmp_path)
    for parameter in progress.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with pytest.raises(NonFiniteError, match=r"loss 1\.0, gradients of norm inf in step 3"):
        loop._check_finite(progress.model, torch.tensor(1.0), torch.tensor(torch.inf), 3)


def test_infinite_pixels_are_clipped_like_any_other_absurd_one(tmp_path: Path) -> None:
    """The encoder in the graph stands before everything else."""
    settings, dataset, progress = _begin(tmp_path)
    (images,), labels = _batch(dataset)
    absurd = images.float()
    absurd[5] = torch.inf
    assert math.isfinite(loop.train_step(progress, settings, [absurd], labels, step=0).loss)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_non_finite_step_stops_the_run_by_its_number(seed: int, tmp_path: Path) -> None:
    """Of all steps, counted from 0; the row is in a random place of the epoch's order."""
    settings, dataset, progress = _begin(tmp_path, f"seed={seed}", "fit.epochs=1")
    row = int(np.random.default_rng(seed).integers(len(dataset.train)))
    steps: list[None] = []
    poisoned = _poison(dataset, [row])
    with pytest.raises(Refusal, match="loss nan, gradient of mlp") as caught:
        loop.fit(progress, settings, poisoned, on_step=lambda: steps.append(None))
    assert caught.value.field == f"step {len(steps)}"


def test_non_finite_steps_are_left_out_and_counted(tmp_path: Path) -> None:
    """With `skip` the run goes on; each poisoned row costs its own step in every epoch, the weights stay finite."""
    settings, dataset, progress = _begin(tmp_path, "clipping.on_non_finite=skip", "fit.epochs=3", "fit.batch_size=12")
    unseen = np.setdiff1d(np.arange(len(dataset.train)), observation.sample(len(dataset.train), 10))
    loop.fit(progress, settings, _poison(dataset, unseen[[7, 99]].tolist()))
    assert [figures.skipped_steps in (1, 2) for figures in progress.epochs] == [True] * 3
    assert "skipped" in progress.epochs[0].line()
    assert all(torch.isfinite(value).all() for value in progress.model.state_dict().values())
    assert progress.epochs[-1].loss < progress.epochs[0].loss


def test_a_bad_row_that_is_looked_at_costs_no_run_that_skips(tmp_path: Path) -> None:
    """Diagnostics leave it out; where the run should stop, it stops at the row's step."""
    settings, dataset, progress = _begin(tmp_path, "clipping.on_non_finite=skip", "fit.epochs=1", "fit.batch_size=12")
    looked_at = observation.sample(len(dataset.train), 10)
    loop.fit(progress, settings, _poison(dataset, looked_at[[0, 5]].tolist()))
    assert progress.epochs[0].diagnostics.rows == len(looked_at) - 2


def test_a_weight_that_is_not_finite_is_named(tmp_path: Path) -> None:
    """By the next step, or at the end of the epoch, before any gradient that it spoils."""
    settings, dataset, progress = _begin(tmp_path, "fit.epochs=1")
    last = loop.steps_per_epoch(settings, dataset) - 1
    for at in (2, last):
        steps = iter(range(at, -1, -1))

        def put(steps: Iterator[int] = steps, progress: Progress = progress) -> None:
            if next(steps, None) == 0:
                with torch.no_grad():
                    dict(progress.model.named_parameters())["mlp.3.bias"][2] = torch.nan

        with pytest.raises(Refusal, match=rf"step {at if at == last else at + 1}\b.*weight mlp\.3\.bias \(norm nan\)"):
            loop.fit(progress, settings, dataset, on_step=put)
        settings, dataset, progress = _begin(tmp_path, "fit.epochs=1")


def test_an_epoch_without_a_finite_step_stops_the_run(tmp_path: Path) -> None:
    """Nothing would ever be learned."""
    settings, dataset, progress = _begin(tmp_path, "clipping.on_non_finite=skip")
    with pytest.raises(Refusal, match=r"epoch 1: expected a step with finite numbers, found none"):
        loop.fit(progress, settings, _poison(dataset, list(range(len(dataset.train)))))


def test_weights_that_overflow_in_an_epochs_last_step_stop_the_run(tmp_path: Path) -> None:
    """Validation would give NaN figures, and no later epoch could be better than NaN."""
    settings, dataset, progress = _begin(tmp_path, "fit.epochs=1")

    def overflow() -> None:
        with torch.no_grad():
            for parameter in progress.model.parameters():
                parameter.fill_(1e38)

    steps = iter(range(loop.steps_per_epoch(settings, dataset), 0, -1))
    with pytest.raises(Refusal, match=r"epoch 1: expected finite logits on validation"):
        loop.fit(progress, settings, dataset, on_step=lambda: overflow() if next(steps) == 1 else None)


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    """With the rows that there are."""
    settings, dataset, progress = _begin(tmp_path, "fit.batch_size=481")
    with pytest.raises(Refusal, match=r"fit.batch_size: expected at most the 480 training rows, found 481"):
        loop.fit(progress, settings, dataset)
    assert loop.steps_per_epoch(tiny.read(tmp_path, "fit.batch_size=480"), dataset) == 1


@pytest.mark.parametrize("keep", ["log_loss", "accuracy", "last"])
def test_the_weights_of_the_best_epoch_are_kept(keep: str, tmp_path: Path) -> None:
    """By the chosen figure; of equal ones the first."""
    overrides = ["optimizer.learning_rate=0.05", "schedule.name=constant", f"fit.keep={keep}", "fit.epochs=8"]
    settings, dataset, progress = _begin(tmp_path, *overrides)
    weights: list[dict[str, Tensor]] = []
    loop.fit(progress, settings, dataset, on_epoch=lambda now: weights.append(_weights(now)))
    costs: dict[str, list[float]] = {
        "log_loss": [epoch.validation_log_loss for epoch in progress.epochs],
        "accuracy": [-epoch.validation_accuracy for epoch in progress.epochs],
        "last": [-epoch.epoch for epoch in progress.epochs],
    }
    assert progress.best_epoch == 1 + int(np.argmin(costs[keep]))
    assert _same(progress.best_weights, weights[progress.best_epoch - 1])


def test_a_settled_run_holds_its_best_weights_once(tmp_path: Path) -> None:
    """In the model; the copy, the optimizer's moments and the gradients are gone, and what was measured stays."""
    settings, dataset, progress = _begin(tmp_path, "fit.keep=accuracy", "optimizer.learning_rate=0.05")
    loop.fit(progress, settings, dataset)
    best = dict(progress.best_weights)
    progress.settle()
    assert _same(_weights(progress), best)
    assert not progress.best_weights
    assert not progress.optimizer.state
    assert len(progress.epochs) == settings.fit.epochs


def _weights(progress: Progress) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in progress.model.state_dict().items()}


def test_an_epochs_figures_are_those_of_its_weights(tmp_path: Path) -> None:
    """Validation accuracy and log loss, computed again from outside, without dropout."""
    settings, dataset, progress = _begin(tmp_path, "fit.epochs=2")
    loop.fit(progress, settings, dataset)
    logits = loop.logits_of(progress.model, dataset, dataset.selection)
    last = progress.epochs[-1]
    assert last.validation_accuracy == metrics.accuracy(logits, dataset.selection.labels)
    assert last.validation_log_loss == pytest.approx(metrics.log_loss(logits, dataset.selection.labels))
    assert [figures.epoch for figures in progress.epochs] == [1, 2]
    assert 0.0 <= last.clipped_share <= 1.0
    assert last.grad_norm_median <= last.grad_norm_max
    assert f"validation {last.validation_accuracy:.4f}" in last.line()


def test_an_epoch_takes_every_row_at_most_once_in_a_new_order(tmp_path: Path) -> None:
    """Rows left over at the end of one epoch come in another order in the next."""
    settings, dataset = tiny.dataset(tmp_path)
    steps = loop.steps_per_epoch(settings, dataset)
    generator = torch.Generator().manual_seed(0)
    orders = [np.concatenate(list(loop._orders(480, 32, steps, 1, generator))) for _ in range(2)]
    for order in orders:
        assert len(np.unique(order)) == len(order) == steps * 32
    assert not np.array_equal(orders[0], orders[1])


def test_the_learning_rate_follows_the_schedule(tmp_path: Path) -> None:
    """Of the whole run: up to its highest, then down."""
    settings, dataset, progress = _begin(tmp_path, "fit.epochs=2")
    rates: list[float] = []
    loop.fit(progress, settings, dataset, on_step=lambda: rates.append(progress.optimizer.param_groups[0]["lr"]))
    expected = [loop.learning_rate(settings, step / len(rates)) for step in range(len(rates))]
    assert rates == expected
    assert max(rates) <= settings.optimizer.learning_rate


def test_rows_in_one_piece_or_in_chunks_give_the_same_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluation is cut into chunks of bounded memory."""
    _, dataset, progress = _begin(tmp_path)
    whole = loop.logits_of(progress.model, dataset, dataset.test)
    monkeypatch.setattr(loop, "_EVALUATION_ROWS", 7)
    assert np.allclose(whole, loop.logits_of(progress.model, dataset, dataset.test), atol=1e-5)
    assert whole.shape == (tiny.TEST_ROWS, 10)
