"""A sentence says good only where the figures do."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from tests.training.report.evidence import evidence
from training.report.build import build
from training.report.figures import Report
from training.report.verdicts import verdicts


@pytest.fixture(scope="module")
def report() -> Report:
    """Of a model that is right about its own probabilities."""
    return build(evidence(classes=4))


def changed(part: BaseModel, path: str, value: Any) -> Any:
    """A copy with the value at a dotted path replaced."""
    name, _, rest = path.partition(".")
    return part.model_copy(update={name: changed(getattr(part, name), rest, value) if rest else value})


def marks(report: Report) -> dict[str, bool]:
    return {verdict.name: verdict.good for verdict in verdicts(report)}


def test_an_honest_model_gets_good_marks(report: Report) -> None:
    """Calibration, coverage and clipping."""
    found = marks(report)
    assert found["calibration"]
    assert found["coverage_90"]
    assert found["coverage_95"]
    assert found["clipping"]


def test_an_ece_that_the_temperatures_own_chance_explains_is_no_miscalibration(report: Report) -> None:
    """It is above what the test rows alone explain."""
    off = changed(changed(report, "test.metrics.ece", 0.2), "test.ece_noise_upper_fitted", 0.21)
    assert marks(off)["calibration"]


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("calibration", "test.metrics.ece", 0.2),
        ("abstention", "selective.chosen.threshold", None),
        ("abstention", "selective.test.risk_low", 0.3),
        ("abstention", "selective.test.risk", None),
        ("generalization", "test.metrics.accuracy", 0.5),
        ("clipping", "clipping.skipped_steps", 3),
        ("clipping", "clipping.clipped_share", 0.99),
    ],
)
def test_a_broken_promise_is_marked(report: Report, name: str, path: str, value: Any) -> None:
    """Each by the figure that breaks it."""
    if name == "abstention" and value is not None:
        report = changed(report, "selective.test.risk", 0.4)
    if name == "abstention" and path != "selective.chosen.threshold":
        report = changed(report, "selective.chosen.threshold", 0.9)
    assert marks(changed(report, path, value))[name] is False


def test_sets_that_cover_too_little_are_marked(report: Report) -> None:
    """By more than a point and more than chance; too few calibration rows are marked too."""
    for change in ({"coverage": 0.5}, {"threshold": None}):
        sets = tuple(one.model_copy(update=change) for one in report.prediction_sets)
        found = marks(report.model_copy(update={"prediction_sets": sets}))
        assert not found["coverage_90"]
        assert not found["coverage_95"]


def test_a_class_that_is_mostly_missed_is_marked_where_rows_show_it(report: Report) -> None:
    """1 of 100 rows does, 0 of 3 do not."""
    for recall, support, good in ((0.01, 100, False), (0.0, 3, True)):
        classes = (report.per_class[0].model_copy(update={"recall": recall, "support": support}), *report.per_class[1:])
        assert marks(report.model_copy(update={"per_class": classes}))["worst_class"] is good


def test_a_rule_that_never_fired_is_a_safeguard(report: Report) -> None:
    """No fault."""
    assert marks(changed(report, "clipping.clipped_share", 0.0))["clipping"]
