"""A ranking in a manifest stands in for the figures of one label a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clipmax import manifest
from clipmax.refusal import Refusal
from tests import artifacts

FIGURES = {"ndcg_at_10": 0.3, "recall_at_20": 0.28, "new_ndcg_at_10": None, "new_recall_at_20": None}
AHEAD = {"ndcg_at_10": [-0.01, 0.02], "recall_at_20": [0.0, 0.01], "new_ndcg_at_10": None}
RANKING: dict[str, Any] = {
    **FIGURES,
    "customers": 9,
    "customers_with_new": 0,
    "purchases": 100,
    "log_loss": 1.0,
    "log_loss_uncalibrated": 1.1,
    "top_10_probability": 0.4,
    "top_10_share": 0.4,
    "baselines": {
        "popularity": {**FIGURES, "ndcg_at_10": 0.1, "setting": None, "ahead": AHEAD},
        "habit": {**FIGURES, "setting": "7 days", "ahead": AHEAD},
    },
}


def test_a_version_may_be_measured_by_a_ranking(tmp_path: Path) -> None:
    """The best baseline is that of the highest NDCG@10."""
    found = manifest.load(artifacts.publish_history(tmp_path, metrics=None, ranking=RANKING)).ranking
    assert found is not None
    assert found.best_baseline == "habit"
    assert found.baselines["habit"].ahead.ndcg_at_10 == (-0.01, 0.02)


@pytest.mark.parametrize("change", [{"ndcg_at_10": 1.1}, {"customers": 0}, {"best": "habit"}])
def test_figures_that_cannot_be_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    """As everything in a manifest."""
    with pytest.raises(Refusal, match="ranking"):
        artifacts.publish_history(tmp_path, metrics=None, ranking=RANKING | change)


def test_a_trained_version_without_figures_is_refused(tmp_path: Path) -> None:
    """Neither metrics nor a ranking."""
    with pytest.raises(Refusal, match="metrics, data and training"):
        artifacts.publish_history(tmp_path, metrics=None)
