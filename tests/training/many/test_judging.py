"""Exact figures over all classes, a chunk at a time, against the figures of whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training import tiny
from training import calibration, loop, metrics, run, run_file
from training.data.dataset import Dataset
from training.heads.linear import Linear
from training.many import judging
from training.model import Classifier

_TEMPERATURE = 1.7


@pytest.fixture(scope="module")
def judged_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Dataset]:
    """Class means as vectors, so that nothing need be trained; not to be changed."""
    folder = tmp_path_factory.mktemp("judging")
    settings = run_file.read(tiny.write(folder), [*tiny.places(folder), "head.answer=top", "head.start=imprinted"])
    progress, dataset = run.begin(run.read(settings))
    return progress.model, dataset


@pytest.fixture(autouse=True)
def _chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that do not divide ten classes or the rows."""
    monkeypatch.setattr(judging, "_CLASSES", 3)
    monkeypatch.setattr(judging, "_ROWS", 64)


def test_all_figures_are_those_of_the_whole_arrays(judged_model: tuple[Classifier, Dataset]) -> None:
    """Metrics of the manifest, one by one, computed from [N, K] logits."""
    model, dataset = judged_model
    logits = loop.logits_of(model, dataset, dataset.test)
    expected = metrics.evaluate(logits, dataset.test.labels, _TEMPERATURE)
    found = judging.figures(judging.judge(model, dataset, dataset.test, _TEMPERATURE))
    assert found.model_dump() == pytest.approx(expected.model_dump(), rel=1e-5, abs=1e-6)


def test_the_rank_is_the_place_in_the_sorted_logits(judged_model: tuple[Classifier, Dataset]) -> None:
    """How many classes stand before the true one, from a stable sort."""
    model, dataset = judged_model
    logits, labels = loop.logits_of(model, dataset, dataset.test), dataset.test.labels
    order = np.argsort(-logits, axis=1, kind="stable")
    judged = judging.judge(model, dataset, dataset.test)
    assert (judged.rank == (order == labels[:, None]).argmax(axis=1)).all()
    assert (judged.predicted == order[:, 0]).all()


def test_equal_logits_rank_by_their_place(judged_model: tuple[Classifier, Dataset]) -> None:
    """As argmax does: of equal classes the first is before the others, whichever chunk it is in."""
    model, dataset = judged_model
    assert isinstance(model.head, Linear)
    kept = {name: value.clone() for name, value in model.head.state_dict().items()}
    try:
        with torch.no_grad():
            model.head.weight.zero_()
            model.head.bias.zero_()
        judged = judging.judge(model, dataset, dataset.test)
        assert (judged.rank == dataset.test.labels).all()
        assert (judged.predicted == 0).all()
        assert judged.log_loss == pytest.approx(np.full(len(judged), np.log(10)))
    finally:
        model.head.load_state_dict(kept)


def test_the_temperature_is_that_of_the_whole_arrays(judged_model: tuple[Classifier, Dataset]) -> None:
    """Same objective, same prior, to the six digits that are promised."""
    model, dataset = judged_model
    logits = loop.logits_of(model, dataset, dataset.selection)
    expected = calibration.fit_temperature(logits, dataset.selection.labels)
    assert judging.fit_temperature(model, dataset, dataset.selection) == pytest.approx(expected, rel=1e-4)


def test_frequent_and_rare_classes_are_told_apart() -> None:
    """The fewest classes with half of the training rows are the head; the rest is the tail."""
    judged = judging.Judged(
        labels=np.array([0, 0, 1, 2]),
        rank=np.array([0, 3, 6, 30]),
        predicted=np.array([0, 1, 0, 0]),
        **{name: np.zeros(4) for name in ("top", "top_uncalibrated", "log_loss", "log_loss_uncalibrated", "brier")},
    )
    found = judging.ranked(judged, np.array([0, 0, 0, 1, 1, 2]), 3)
    assert (found.head_classes, found.head_accuracy, found.tail_accuracy) == (1, 0.5, 0.0)
    assert (found.top_5, found.recall_at_20) == (0.5, 0.75)


def test_a_look_is_bounded_whatever_the_number_of_classes() -> None:
    """All rows of few classes; of a million a thousand, evenly spaced."""
    assert len(judging.look_rows(5000, 10)) == 5000
    rows = judging.look_rows(5000, 1_000_000)
    assert len(rows) == 1000
    assert set(np.diff(rows)) == {5}
