"""Rows set aside by class, group and time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from training.data import splits

shares = st.floats(0.05, 0.9)
seeds = st.integers(0, 2**31)


@given(st.lists(st.integers(2, 40), min_size=2, max_size=6), shares, seeds)
def test_every_class_is_on_both_sides(counts: list[int], share: float, seed: int) -> None:
    """By its share of rows, but at least one on either side."""
    labels = np.repeat(np.arange(len(counts)), counts)
    kept, aside = splits.stratified(labels, share, seed)
    assert sorted([*kept, *aside]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        assert (labels[aside] == label).sum() == min(max(1, round(share * count)), count - 1)


def test_very_many_classes_are_split_at_once_and_keep_a_row_each() -> None:
    """Every class stays among those kept, and the share is kept over all rows, though most classes have few."""
    counts = np.random.default_rng(0).geometric(0.3, size=splits.MANY_CLASSES + 5)
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    kept, aside = splits.stratified(labels, 0.2, 3)
    assert sorted([*kept, *aside]) == list(range(len(labels)))
    assert len(np.unique(labels[kept])) == len(counts)
    assert 0.12 < len(aside) / len(labels) < 0.2  # classes of one row have none aside


@given(st.lists(st.integers(0, 9) | st.none(), min_size=10, max_size=60), shares, seeds)
def test_a_group_is_never_on_both_sides(groups: list[int | None], share: float, seed: int) -> None:
    """Rows without a group are one group."""
    kept, aside = splits.by_group(pl.Series("g", groups, dtype=pl.Int64), share, seed)
    assert len(kept) + len(aside) == len(groups)
    assert not {groups[row] for row in kept} & {groups[row] for row in aside}


@given(st.lists(st.integers(0, 30), min_size=2, max_size=60).filter(lambda times: len(set(times)) > 1), shares)
def test_what_is_aside_is_later_than_what_stays(times: list[int], share: float) -> None:
    """As strings of digits too, where "9" comes before "10"."""
    for column in (pl.Series("t", times), pl.Series("t", [str(time) for time in times])):
        kept, aside = splits.by_time(column, share, where=Path("table.csv"))
        assert len(kept) + len(aside) == len(times)
        assert max(times[row] for row in kept) < min(times[row] for row in aside)
