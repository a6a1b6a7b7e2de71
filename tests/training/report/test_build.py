"""The report's figures are those of the modules that measure them; keys are stable."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.training.report.evidence import evidence
from training import abstention, conformal, metrics
from training.report.build import COVERAGES, build
from training.report.figures import Report

KEYS = {
    "origin",
    "search",
    "report_version", "name", "version", "created", "labels", "seed", "training_seconds", "best_epoch", "temperature",
    "temperature_error", "slope", "slope_center", "validation",
    "test", "epochs", "clipping", "softmax", "diagnostics_share", "reliability",
    "confusion", "per_class", "selective", "prediction_sets", "mistakes", "novelty", "data",
    "verdicts", "configuration", "environment",
}  # fmt: skip


@pytest.fixture(scope="module")
def report() -> Report:
    """Of three classes."""
    return build(evidence())


def test_the_keys_are_stable(report: Report) -> None:
    """What reads report.json relies on them; only new ones may come."""
    document = json.loads(report.model_dump_json())
    assert set(document) == KEYS
    assert set(document["test"]["metrics"]) >= {"accuracy", "macro_f1", "log_loss", "brier", "ece", "ece_uncalibrated"}
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_figures_are_those_of_the_answers(report: Report) -> None:
    """Metrics, sets and the accepted rows, each from its own module."""
    measured = evidence().measured
    test = measured.test
    assert report.test.metrics == metrics.evaluate(test.logits, test.labels, report.temperature)
    accepted = abstention.measure(measured.abstention, test.probabilities, test.labels)
    assert report.selective.test.accepted == accepted.accepted
    tables = {"plain": measured.conformal.plain, "adaptive": measured.conformal.adaptive}
    assert [(sets.method, sets.asked) for sets in report.prediction_sets] == [
        (method, coverage) for method in tables for coverage in COVERAGES
    ]
    for sets in report.prediction_sets:
        found = conformal.measure(tables[sets.method], test.probabilities, test.labels, coverage=sets.asked)
        assert (sets.coverage, sets.mean_size) == (found.coverage, found.mean_size)


def test_confusions_and_classes_add_up(report: Report) -> None:
    """To the rows of the test split."""
    matrix = np.array(report.confusion.matrix)
    assert matrix.sum() == report.test.metrics.rows == sum(one.support for one in report.per_class)
    assert sum(pair.rows for pair in report.confusion.pairs) == matrix.sum() - matrix.trace()
    assert [pair.rows for pair in report.confusion.pairs] == sorted(
        (pair.rows for pair in report.confusion.pairs), reverse=True
    )


def test_the_interval_of_the_accuracy_holds_it(report: Report) -> None:
    """95 of 100."""
    assert report.test.accuracy_low < report.test.metrics.accuracy < report.test.accuracy_high


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    """At most 200 points, up to all rows answered."""
    curve = build(evidence(classes=2)).selective.curve
    assert len(curve.coverage) <= 200
    assert curve.coverage[-1] == 1.0
    assert list(curve.coverage) == sorted(curve.coverage)


def test_above_200_classes_only_the_frequent_confusions_are_kept() -> None:
    """The matrix would be most of the file."""
    found = build(evidence(classes=201)).confusion
    assert found.matrix is None
    assert 0 < len(found.pairs) <= 50
