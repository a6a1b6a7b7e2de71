"""A stored table gives valid thresholds for every coverage, and the same sets for the same probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from clipmax.conformal import (
    TABLE_SIZE,
    Conformal,
    Method,
    contains,
    kept_ranks,
    label_scores,
    prediction_set,
    threshold,
)

Array = npt.NDArray[Any]
METHODS: tuple[Method, ...] = ("plain", "adaptive")


def probabilities(seed: int, rows: int = 50, classes: int = 6) -> Array:
    """Softmax of normal logits in float32, as a graph gives them."""
    logits = np.random.default_rng(seed).normal(0, 3, (rows, classes))
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), dtype=np.float32)


def table(rows: int) -> tuple[Conformal, Array]:
    """A table of distinct scores, and all its scores."""
    scores = np.sort(np.random.default_rng(rows).random(rows))
    return Conformal(method="plain", rows=rows, scores=tuple(scores[kept_ranks(rows) - 1])), scores


@pytest.mark.parametrize(("rows", "rank"), [(9, 9), (19, 18), (99, 90), (999, 900)])
def test_a_table_of_all_scores_gives_the_exact_rank(rows: int, rank: int) -> None:
    """⌈(n + 1) · 0.9⌉, although 0.9 is a hair above nine tenths in binary."""
    conformal, scores = table(rows)
    assert threshold(conformal, 0.9) == scores[rank - 1]


@pytest.mark.parametrize(("rows", "coverage"), [(8, 0.9), (1, 0.6), (98, 0.99), (999, 0.9999)])
def test_too_few_rows_promise_nothing_so_every_label_belongs(rows: int, coverage: float) -> None:
    """The rank lies beyond the rows: the threshold is infinite and the set is full."""
    conformal, _ = table(rows)
    assert threshold(conformal, coverage) == math.inf
    assert sorted(prediction_set("plain", probabilities(0)[0], math.inf)) == list(range(6))


@given(st.integers(1, 200_000), st.floats(0.001, 0.9999))
@settings(max_examples=60, deadline=None)
def test_a_compressed_table_is_never_below_the_exact_threshold(rows: int, coverage: float) -> None:
    """At least the exact score and at most 0.2 points of rows above it."""
    conformal, scores = table(rows)
    exact = math.ceil((rows + 1) * coverage - 1e-9)
    found = threshold(conformal, coverage)
    if exact > rows:
        assert found == math.inf
        return
    reached = int(np.searchsorted(scores, found)) + 1
    assert exact <= reached <= exact + math.ceil(0.002 * rows)
    assert len(conformal.scores) == min(rows, TABLE_SIZE)


def test_high_coverages_stay_exact_in_a_compressed_table() -> None:
    """The 500 highest of 100,000 scores are all there, so 99.9 % is not rounded up to all labels."""
    conformal, scores = table(100_000)
    for coverage in (0.996, 0.999, 0.9999):
        assert threshold(conformal, coverage) == scores[math.ceil(100_001 * coverage - 1e-9) - 1]


@given(st.integers(0, 10**6), st.floats(0.01, 0.98), st.floats(0.001, 0.019))
@settings(max_examples=40, deadline=None)
def test_more_coverage_never_takes_a_label_away(seed: int, coverage: float, more: float) -> None:
    """Sets are nested."""
    conformal, _ = table(300)
    for method in METHODS:
        small, large = (
            contains(method, probabilities(seed), threshold(conformal, c)) for c in (coverage, coverage + more)
        )
        assert (small <= large).all()


@pytest.mark.parametrize("method", METHODS)
def test_one_row_alone_gets_the_same_set_as_in_a_batch(method: Method) -> None:
    """Bit for bit, and most probable first."""
    batch = probabilities(3)
    limit = 0.37
    inside = contains(method, batch, limit)
    for row, expected in zip(batch, inside, strict=True):
        found = prediction_set(method, row, limit)
        assert sorted(found) == np.flatnonzero(expected).tolist()
        assert (np.diff(row[found]) <= 0).all()


def test_adaptive_sets_are_never_empty_and_plain_ones_may_be() -> None:
    """The most probable label scores 0 when adaptive, 1 - p when plain."""
    batch = probabilities(4)
    assert contains("adaptive", batch, 0.0).sum(axis=1).tolist() == [1] * len(batch)
    assert not contains("plain", batch, 0.0).any()


def test_adaptive_scores_by_hand_with_ties_in_label_order() -> None:
    """What ranks before the label; of equal probabilities the first label ranks first."""
    scores = label_scores("adaptive", np.array([[0.25, 0.5, 0.25]]))
    np.testing.assert_array_equal(scores, [[0.5, 0.0, 0.75]])


def test_scores_stay_between_0_and_1_for_probabilities_a_rounding_beyond() -> None:
    """A float32 softmax may sum to more than 1."""
    row = np.array([[np.nextafter(np.float32(1), np.float32(2)), 1e-7, 0.0]], dtype=np.float32)
    for method in METHODS:
        scores = label_scores(method, row)
        assert scores.min() >= 0.0
        assert scores.max() <= 1.0


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf])
def test_a_coverage_that_is_none_is_refused(coverage: float) -> None:
    """0 and 1 too: nothing and everything are no promises."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold(table(10)[0], coverage)


@pytest.mark.parametrize(
    ("rows", "scores"),
    [(3, (0.1, 0.2)), (2, (0.2, 0.1)), (1, (1.5,)), (1, (-0.1,)), (1, (math.nan,)), (0, ()), (1, (0.1, 0.2))],
)
def test_a_table_that_cannot_be_is_refused(rows: int, scores: tuple[float, ...]) -> None:
    """Wrong length, not ascending, outside 0..1, not a number, empty."""
    with pytest.raises(ValidationError):
        Conformal(method="plain", rows=rows, scores=scores)


def test_the_table_survives_json_bit_for_bit() -> None:
    """As a member of a manifest does."""
    conformal, _ = table(5000)
    assert Conformal.model_validate_json(conformal.model_dump_json()) == conformal
