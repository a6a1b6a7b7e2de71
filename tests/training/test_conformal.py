"""Prediction sets hold the true label as often as promised, on rows that nothing was fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from clipmax.conformal import Method, prediction_set
from clipmax.refusal import Refusal
from tests.training.samples import Array, sample
from training import conformal
from training.metrics import log_probabilities


def rows(seed: int, count: int, sharpness: float = 2.0) -> tuple[Array, Array]:
    """Probabilities in float32, as a graph gives them, and labels."""
    logits, labels = sample(seed, rows=count, sharpness=sharpness)
    return np.exp(log_probabilities(logits)).astype(np.float32), labels


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("calibration_rows", [19, 200, 2500])
def test_plain_sets_cover_what_was_asked(coverage: float, calibration_rows: int) -> None:
    """On average over many calibration samples: at least the asked, at most 1/(n+1) (or the table's step) more."""
    covered = []
    for seed in range(200):
        table = conformal.fit(*rows(seed, calibration_rows))
        covered.append(conformal.measure(table, *rows(10_000 + seed, 500), coverage=coverage).coverage)
    noise = 4 * np.std(covered) / np.sqrt(len(covered))
    assert coverage - noise <= np.mean(covered)
    assert np.mean(covered) <= coverage + max(1 / (calibration_rows + 1), 0.002) + noise


def test_single_measurements_lie_within_the_stated_noise() -> None:
    """95 of 100 within the range that `noise` states."""
    within = []
    for seed in range(200):
        table = conformal.fit(*rows(seed, 1000))
        found = conformal.measure(table, *rows(10_000 + seed, 1000), coverage=0.9)
        within.append(abs(found.coverage - 0.9) <= found.noise)
    assert np.mean(within) >= 0.9


def test_adaptive_sets_cover_what_was_asked_and_are_never_empty() -> None:
    """A model that is often unsure: coverage within noise; a model that is sure: more, because no set is empty."""
    for sharpness, exact in ((0.8, True), (16.0, False)):
        table = conformal.fit(*rows(1, 5000, sharpness), method="adaptive")
        found = conformal.measure(table, *rows(2, 5000, sharpness), coverage=0.9)
        assert found.empty == 0.0
        assert found.coverage >= 0.9 - found.noise
        assert (found.coverage <= 0.9 + 0.002 + found.noise) is exact


def test_coverage_holds_for_a_model_that_is_wrong_about_itself() -> None:
    """The promise needs no calibrated probabilities: logits three times too large."""
    for method in ("plain", "adaptive"):
        sharp = [(np.exp(log_probabilities(3 * z)), y) for z, y in (sample(1, rows=4000), sample(2, rows=4000))]
        table = conformal.fit(*sharp[0], method=method)
        found = conformal.measure(table, *sharp[1], coverage=0.95)
        assert abs(found.coverage - 0.95) <= found.noise + 0.002


@pytest.mark.parametrize("method", ["plain", "adaptive"])
def test_offline_figures_are_those_of_the_sets_that_are_served(method: Method) -> None:
    """Row by row with the function that the service calls."""
    table = conformal.fit(*rows(1, 1500), method=method)
    probabilities, labels = rows(2, 300)
    found = conformal.measure(table, probabilities, labels, coverage=0.9)
    sets = [prediction_set(method, row, found.threshold) for row in probabilities]
    hits = [label in labels_of_row for label, labels_of_row in zip(labels, sets, strict=True)]
    assert found.coverage == np.mean(hits)
    assert found.mean_size == np.mean([len(each) for each in sets])
    assert found.empty == np.mean([not each for each in sets])


def test_each_class_has_its_own_figure() -> None:
    """Weighted by support they give the whole; a class without rows has none."""
    table = conformal.fit(*rows(1, 1000))
    probabilities, labels = rows(2, 1000)
    kept = labels != 3
    found = conformal.measure(table, probabilities[kept], labels[kept], coverage=0.9)
    assert np.isnan(found.per_class[3])
    seen = found.support > 0
    mean = (found.per_class[seen] * found.support[seen]).sum() / found.support.sum()
    assert mean == pytest.approx(found.coverage)
    for label in np.flatnonzero(seen):
        alone = labels == label
        one = conformal.measure(table, probabilities[alone], labels[alone], coverage=0.9)
        assert one.coverage == pytest.approx(found.per_class[label])


def test_too_few_rows_give_full_sets() -> None:
    """5 rows cannot promise 90 %."""
    table = conformal.fit(*rows(1, 5))
    found = conformal.measure(table, *rows(2, 50), coverage=0.9)
    assert (found.threshold, found.coverage, found.mean_size) == (np.inf, 1.0, 5.0)


def test_rows_that_cannot_be_scored_are_refused() -> None:
    """NaN probabilities and labels outside the classes."""
    probabilities, labels = rows(1, 10)
    with pytest.raises(Refusal):
        conformal.fit(np.full_like(probabilities, np.nan), labels)
    with pytest.raises(Refusal):
        conformal.fit(probabilities, labels + 5)
