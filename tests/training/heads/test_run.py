"""A whole run with a last layer of many classes: trained, judged over all classes, published, answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from clipmax import manifest as manifest_module
from clipmax.manifest import MODEL_FILE
from clipmax.refusal import Refusal
from clipmax.repository import read_verified
from tests.training import tiny
from training import answers, loop, run, run_file
from training.data import sources
from training.features import columns
from training.many import judging
from training.outcome import Outcome
from training.search import trials

_TOP = ("head.answer=top", "images.augmentation.rotation_degrees=0", "images.augmentation.shift=0")


def _train(folder: Path, *overrides: str) -> Outcome:
    path = tiny.write(folder)
    return run.train(run_file.read(path, [*tiny.places(folder), *_TOP, *overrides]), say=lambda _: None)


_SMALL = ("head.negatives=32", "head.components=2", "fit.epochs=4")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outcome]:
    """A head's name → a version that answers top classes, trained once."""
    return cache(lambda head: _train(tmp_path_factory.mktemp(head), f"head.name={head}", *_SMALL))


@pytest.mark.parametrize("head", ["full", "chunked", "sampled", "plif", "mixture"])
def test_each_head_becomes_a_version_that_answers_top_classes(trained: Callable[[str], Outcome], head: str) -> None:
    """Manifest, graph and report belong together, and the model has learned."""
    outcome = trained(head)
    manifest = manifest_module.load(outcome.folder)
    assert manifest.is_top
    assert manifest.head is not None
    assert manifest.head.name == head
    assert (manifest.head.unreachable is None) == (head == "mixture")
    assert manifest.metrics is not None
    assert manifest.metrics.accuracy > (0.2 if head == "mixture" else 0.5)  # which starts slowly
    assert manifest.head.ranked is not None
    assert manifest.head.ranked.recall_at_20 == 1.0  # of ten classes
    report = json.loads((outcome.folder / "report.json").read_text())
    assert report["test"]["log_loss"] == manifest.metrics.log_loss
    assert report["head"]["rank"] == manifest.head.rank
    assert "What the last layer can answer" in (outcome.folder / "report.html").read_text()


@pytest.mark.parametrize("head", ["sigsoftmax", "adaptive"])
def test_an_option_for_few_classes_answers_all_of_them(tmp_path: Path, head: str) -> None:
    """With logits and probabilities, as any model does; of an adaptive one the logits are log-probabilities."""
    manifest = manifest_module.load(_train(tmp_path, f"head.name={head}", *_SMALL, "head.answer=full").folder)
    assert not manifest.is_top
    assert manifest.metrics is not None
    assert manifest.metrics.accuracy > 0.2


def test_the_graph_gives_the_judged_probabilities(trained: Callable[[str], Outcome]) -> None:
    """Accuracy and log loss of the manifest, computed again from the graph's own outputs."""
    outcome = trained("sampled")
    manifest = manifest_module.load(outcome.folder)
    session = answers.session(read_verified(outcome.folder, manifest, MODEL_FILE))
    dataset = sources.read(run_file.read(outcome.folder.parents[2] / "run.toml").data)
    feeds = {"image": columns.tensors(dataset.inputs, dataset.test, slice(None))[0].numpy()}
    indices, probabilities, _ = session.run(None, feeds)
    labels = dataset.test.labels
    assert manifest.metrics is not None
    assert (indices[:, 0] == labels).mean() == manifest.metrics.accuracy
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    of_truth = probabilities[indices == labels[:, None]]
    assert -np.log(of_truth.astype(np.float64)).mean() == pytest.approx(manifest.metrics.log_loss, abs=1e-4)


def test_a_sampled_run_keeps_nothing_dense(tmp_path: Path) -> None:
    """Through the whole step: gradients of the class vectors are sparse, and the optimizer has a number a row."""
    settings = run_file.read(tiny.write(tmp_path), [*tiny.places(tmp_path), *_TOP, "head.name=sampled"])
    ready = run.read(settings)
    progress, dataset = run.begin(ready)
    batch, labels = next(loop.batches(ready.run, dataset, epoch=0))
    loop.train_step(progress, ready.run, batch, labels, step=0)
    head = progress.model.head
    assert head is not None
    for table in head.parameters():
        assert table.grad is not None
        assert table.grad.is_sparse
        state = progress.optimizer.state[table]
        assert sum(value.numel() for value in state.values()) == head.classes
    assert progress.average == {}


def test_imprinted_vectors_know_something_before_any_step(tmp_path: Path) -> None:
    """From the class means the exact log loss starts below that of guessing by frequency."""
    losses = {}
    for start in ("prior", "imprinted"):
        settings = run_file.read(tiny.write(tmp_path), [*tiny.places(tmp_path), *_TOP, f"head.start={start}"])
        progress, dataset = run.begin(run.read(settings))
        losses[start] = judging.judge(progress.model, dataset, dataset.test).log_loss.mean()
    assert losses["imprinted"] < 0.7 * losses["prior"]


def test_a_frozen_trunk_stays(tmp_path: Path) -> None:
    """With `trunk_rate = 0` only the class vectors move."""
    settings = run_file.read(tiny.write(tmp_path), [*tiny.places(tmp_path), *_TOP, "head.trunk_rate=0", "fit.epochs=1"])
    ready = run.read(settings)
    progress, dataset = run.begin(ready)
    before = {name: value.clone() for name, value in progress.model.state_dict().items()}
    loop.fit(progress, ready.run, dataset)
    changed = {name for name, value in progress.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_a_run_goes_on_from_its_checkpoint_as_if_never_stopped(
    tmp_path: Path, trained: Callable[[str], Outcome]
) -> None:
    """Row-wise state and draws included, the weights come out bit for bit the same."""
    whole = trained("sampled")
    settings = run_file.read(tiny.write(tmp_path), [*tiny.places(tmp_path), *_TOP, "head.name=sampled", *_SMALL])
    calls = 0

    def stop(line: str) -> None:
        nonlocal calls
        calls += line.startswith("epoch")
        if calls == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(settings, say=stop)
    again = run.train(settings, resume=True, say=lambda _: None)
    assert (again.folder / MODEL_FILE).read_bytes() == (whole.folder / MODEL_FILE).read_bytes()


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("fit.average=0.9", "fit.average"),
        ("model.members=2", "model.members"),
        ("model.shortcut=true", "model.shortcut"),
        ("novelty.score=hidden", "novelty.score"),
        ("loss.name=focal", "loss"),
        ("model.hidden=[]", "model.hidden"),
    ],
)
def test_what_does_not_go_with_the_head_is_refused(tmp_path: Path, override: str, field: str) -> None:
    """Each would need something as large as all classes, or all their probabilities."""
    settings = run_file.read(tiny.write(tmp_path), [*tiny.places(tmp_path), "head.name=sampled", override])
    with pytest.raises(Refusal) as caught:
        run.read(settings)
    assert caught.value.field == field


def test_a_graph_of_top_classes_is_not_evaluated_as_if_it_had_all(trained: Callable[[str], Outcome]) -> None:
    """`clipmax evaluate` and `compare` need all probabilities, and say so."""
    outcome = trained("sampled")
    manifest = manifest_module.load(outcome.folder)
    session = answers.session(read_verified(outcome.folder, manifest, MODEL_FILE))
    dataset = sources.read(run_file.read(outcome.folder.parents[2] / "run.toml").data)
    with pytest.raises(Refusal, match="all probabilities"):
        answers.answer(session, dataset.inputs, dataset.test)


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        (("head.name=mixture", "head.start=imprinted"), "head.start"),
        (("head.name=adaptive", "clipping.rule=agc"), "clipping.rule"),
    ],
)
def test_what_does_not_go_with_an_option_is_refused(tmp_path: Path, overrides: tuple[str, ...], field: str) -> None:
    """Class means are vectors of a plain last layer, and the AGC paper spares one last matrix."""
    settings = run_file.read(tiny.write(tmp_path), [*tiny.places(tmp_path), *overrides])
    with pytest.raises(Refusal) as caught:
        run.read(settings)
    assert caught.value.field == field


def test_agc_spares_the_class_vectors(tmp_path: Path) -> None:
    """The paper clips no classifier layer: with a limit of nearly nothing only they and their biases move."""
    settings = run_file.read(
        tiny.write(tmp_path),
        [*tiny.places(tmp_path), *_TOP, "head.name=sampled", "clipping.rule=agc", "clipping.limit=1e-30"],
    )
    ready = run.read(settings)
    progress, dataset = run.begin(ready)
    batch, labels = next(loop.batches(ready.run, dataset, epoch=0))
    loop.train_step(progress, ready.run, batch, labels, step=0)
    for name, weight in progress.model.named_parameters():
        assert weight.grad is not None
        largest = weight.grad.coalesce().values() if weight.grad.is_sparse else weight.grad
        assert (float(largest.abs().max()) > 1e-6) == name.startswith("head."), name


def test_a_search_compares_its_trials_over_all_classes(tmp_path: Path) -> None:
    """`clipmax tune` with a graph of top classes: its value is the exact log loss, and the winner is published."""
    settings = run_file.read(tiny.write(tmp_path), [*tiny.places(tmp_path), *_TOP, "head.name=sampled", "fit.epochs=1"])
    outcome = trials.tune(settings, trials=1, say=lambda _: None)
    manifest = manifest_module.load(outcome.folder)
    assert manifest.is_top
    assert manifest.search is not None
