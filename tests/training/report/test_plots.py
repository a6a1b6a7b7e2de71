"""Every plot that the figures allow is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.training.report.evidence import evidence
from tests.training.test_history import HISTORY
from training.report import plots
from training.report.build import build


@pytest.mark.parametrize(("classes", "has_matrix"), [(2, False), (30, True), (201, False)])
def test_the_confusion_matrix_is_drawn_between_a_table_and_too_many(classes: int, has_matrix: bool) -> None:
    """Few classes are a table, above 200 there is no matrix; all other plots but those of a search are always there."""
    drawn = plots.draw(build(evidence(classes=classes)))
    assert ("confusion" in drawn) == has_matrix
    assert set(plots.PLOTS) - set(drawn) <= {"confusion", "search", "importance"}


@pytest.mark.parametrize("change", [{"grad_norm_median": 0.0}, {"clipped_share": 1.0}])
def test_figures_of_zero_and_one_can_be_drawn(change: dict[str, Any]) -> None:
    """A logarithmic axis gives way to a plain one."""
    report = build(evidence())
    epochs = tuple(replace(epoch, **change) for epoch in report.epochs)
    assert plots.draw(report.model_copy(update={"epochs": epochs}))["norms"].startswith("<svg")


def test_a_run_of_one_epoch_can_be_drawn() -> None:
    """A single point a line."""
    report = build(evidence())
    assert plots.draw(report.model_copy(update={"epochs": report.epochs[:1], "best_epoch": 1}))


def test_a_search_is_drawn_where_there_was_one() -> None:
    """Its trials; which parameter mattered only where that can be said."""
    report = build(evidence())
    assert not {"search", "importance"} & set(plots.draw(report))
    searched = plots.draw(report.model_copy(update={"search": HISTORY}))
    assert "search" in searched
    assert "importance" not in searched
    known = HISTORY.model_copy(update={"importance": {"width": 0.75, "dropout": 0.25}})
    assert "width" in plots.draw(report.model_copy(update={"search": known}))["importance"]
