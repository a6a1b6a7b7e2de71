"""A whole run with a last layer of many classes: trained, judged over all classes, published, answered."""

from __future__ import annotations

import json
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

_TOP = ("head.answer=top", "images.augmentation.rotation_degrees=0", "images.augmentation.shift=0", "fit.epochs=4")


def _train(folder: Path, *overrides: str) -> Outcome:
    path = tiny.write(folder)
    return run.train(run_file.read(path, [*tiny.places(folder), *_TOP, *overrides]), say=lambda _: None)


@pytest.mark.parametrize("head", ["full", "chunked", "sampled"])
def test_each_head_becomes_a_version_that_answers_top_classes(tmp_path: Path, head: str) -> None:
    """Manifest, graph and report belong together, and the model has learned."""
    outcome = _train(tmp_path, f"head.name={head}", "head.negatives=32")
    manifest = manifest_module.load(outcome.folder)
    assert manifest.is_top
    assert manifest.head is not None
    assert manifest.head.name == head
    assert manifest.head.unreachable is not None
    assert manifest.metrics is not None
    assert manifest.metrics.accuracy > 0.5
    assert manifest.head.ranked is not None
    assert manifest.head.ranked.recall_at_20 == 1.0  # of ten classes
    report = json.loads((outcome.folder / "report.json").read_text())
    assert report["test"]["log_loss"] == manifest.metrics.log_loss
    assert report["head"]["rank"] == manifest.head.rank
    assert "What the last layer can answer" in (outcome.folder / "report.html").read_text()


def test_the_graph_gives_the_judged_probabilities(tmp_path: Path) -> None:
    """Accuracy and log loss of the manifest, computed again from the graph's own outputs."""
    outcome = _train(tmp_path, "head.name=sampled")
    manifest = manifest_module.load(outcome.folder)
    session = answers.session(read_verified(outcome.folder, manifest, MODEL_FILE))
    dataset = sources.read(run_file.read(tmp_path / "run.toml").data)
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
    settings = run_file.read(tiny.write(tmp_path), [*tiny.places(tmp_path), *_TOP, "head.trunk_rate=0"])
    ready = run.read(settings)
    progress, dataset = run.begin(ready)
    before = {name: value.clone() for name, value in progress.model.state_dict().items()}
    loop.fit(progress, ready.run, dataset)
    changed = {name for name, value in progress.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}


def test_a_run_goes_on_from_its_checkpoint_as_if_never_stopped(tmp_path: Path) -> None:
    """Row-wise state and draws included, the weights come out bit for bit the same."""
    whole = _train(tmp_path / "whole", "head.name=sampled")
    path = tiny.write(tmp_path / "cut")
    settings = run_file.read(path, [*tiny.places(tmp_path / "cut"), *_TOP, "head.name=sampled"])
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


def test_a_graph_of_top_classes_is_not_evaluated_as_if_it_had_all(tmp_path: Path) -> None:
    """`clipmax evaluate` and `compare` need all probabilities, and say so."""
    outcome = _train(tmp_path)
    manifest = manifest_module.load(outcome.folder)
    session = answers.session(read_verified(outcome.folder, manifest, MODEL_FILE))
    dataset = sources.read(run_file.read(tmp_path / "run.toml").data)
    with pytest.raises(Refusal, match="all probabilities"):
        answers.answer(session, dataset.inputs, dataset.test)
