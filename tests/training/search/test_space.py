"""Where a search looks, and what a parameter does to a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipmax.refusal import Refusal
from tests.training import tiny
from training import config, defaults
from training.search import space
from training.search.space import SPACES, Interval, apply, space_of, widened


def test_every_family_has_a_space_of_the_same_parameters() -> None:
    """Those that `[tune]` knows; each has a lowest value below its highest."""
    assert set(SPACES) == set(defaults.RECIPES)
    for found in SPACES.values():
        assert set(found) == set(config.Tune.model_fields) - {"pruner"} == set(space._PARAMETERS)
        assert all(interval.low < interval.high for interval in found.values())


def test_what_the_file_gives_replaces_the_default(tmp_path: Path) -> None:
    """Two equal ends leave a parameter alone."""
    run, dataset = tiny.dataset(tmp_path, "tune.dropout=[0.1, 0.2]", "tune.width=[1.0, 1.0]")
    found = space_of(run, dataset)
    assert found["dropout"] == Interval(0.1, 0.2)
    assert found["learning_rate"] == SPACES["image"]["learning_rate"]
    assert "width" not in found


def test_what_has_no_effect_is_not_searched(tmp_path: Path) -> None:
    """No hidden layer: no width and no dropout; no clipping: no limit; going on from a version: its widths."""
    run, dataset = tiny.dataset(tmp_path, "model.hidden=[]", "clipping.rule=none")
    assert set(space_of(run, dataset)) == {"learning_rate", "weight_decay"}
    run, dataset = tiny.dataset(tmp_path, "start.version=models/x/1")
    assert "width" not in space_of(run, dataset)


def test_nothing_to_search_is_refused(tmp_path: Path) -> None:
    """So is a limit that the rule cannot use."""
    fixed = [f"tune.{name}=[0.1, 0.1]" for name in SPACES["image"]]
    with pytest.raises(Refusal, match="tune: expected a parameter to search"):
        space_of(*tiny.dataset(tmp_path, *fixed))
    with pytest.raises(
        Refusal, match=r"tune\.clip_limit: expected factors whose limits autoclip can use, found a limit of 500"
    ):
        space_of(*tiny.dataset(tmp_path, "clipping.rule=autoclip", "clipping.limit=50"))


def test_parameters_change_their_fields_and_no_other(tmp_path: Path) -> None:
    """Width and clip limit are factors on what the configuration says; no parameter leaves the run as it is."""
    run, _ = tiny.dataset(tmp_path, "clipping.limit=0.5")
    changed = apply(run, {"width": 2.0, "dropout": 0.3, "clip_limit": 4.0, "learning_rate": 0.1, "weight_decay": 0.2})
    assert (changed.model.hidden, changed.model.dropout, changed.clipping.limit) == ((48, 24), 0.3, 2.0)
    assert (changed.optimizer.learning_rate, changed.optimizer.weight_decay) == (0.1, 0.2)
    assert changed.data == run.data
    assert apply(run, {}) == run
    assert widened((3, 1), 0.1) == (1, 1)
