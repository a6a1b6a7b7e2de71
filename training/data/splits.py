"""Row numbers of one file → those that stay and those set aside: by class, by group or by time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from clipmax.refusal import Refusal
from training.data.dataset import Indices

MANY_CLASSES = 10_000
"""Above, splits are made in one pass, and a class need not be in all of them."""


def stratified(labels: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """`share` of every class aside, at least one row of each, and never all; both sides ascending.

    Of very many classes most have few rows: there every class keeps a row, and may have none aside.
    """
    generator = np.random.default_rng(seed)
    if len(labels) and labels.max() >= MANY_CLASSES:
        return _stratified_at_once(labels, share, generator)
    is_aside = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        is_aside[rows[:count]] = True
    return np.flatnonzero(~is_aside), np.flatnonzero(is_aside)


def _stratified_at_once(labels: Indices, share: float, generator: np.random.Generator) -> tuple[Indices, Indices]:
    """In one sort, where a look at all rows for each class would take hours."""
    shuffled = generator.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.bincount(labels)
    place = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)  # of each row within its class
    drawn = np.floor(share * counts + generator.random(len(counts))).astype(np.int64)
    is_aside = np.zeros(len(labels), dtype=bool)
    is_aside[order] = place < np.repeat(np.minimum(drawn, counts - 1), counts)
    return np.flatnonzero(~is_aside), np.flatnonzero(is_aside)


def by_group(groups: pl.Series, share: float, seed: int) -> tuple[Indices, Indices]:
    """Whole groups aside, in random order, until they hold `share` of the rows; a missing group is one group."""
    numbers = groups.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    found, counts = np.unique(numbers, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(found))
    taken = order[: np.searchsorted(np.cumsum(counts[order]), share * len(numbers)) + 1]
    is_aside = np.isin(numbers, found[taken])
    return np.flatnonzero(~is_aside), np.flatnonzero(is_aside)


def by_time(times: pl.Series, share: float, *, where: Path) -> tuple[Indices, Indices]:
    """The latest rows aside; rows of the same time stay together, so that no future leaks into the past.

    Strings that are all numbers are compared as numbers, others as strings (ISO dates come out right).

    Raises:
        Refusal: a row without a time, or all rows of one time.
    """
    if times.null_count():
        row = int(times.is_null().arg_true()[0]) + 1
        raise Refusal(where, f"column {times.name!r}, row {row}", expected="a time", found="nothing")
    as_numbers = times.cast(pl.Float64, strict=False) if times.dtype == pl.String else times
    ranks = (times if as_numbers.null_count() else as_numbers).rank("dense").to_numpy().astype(np.int64)
    first_aside = np.sort(ranks)[len(ranks) - max(1, round(share * len(ranks)))]
    is_aside = ranks >= max(first_aside, 2)
    if not is_aside.any():
        raise Refusal(where, f"column {times.name!r}", expected="at least two times", found="one")
    return np.flatnonzero(~is_aside), np.flatnonzero(is_aside)
