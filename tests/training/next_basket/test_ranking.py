"""Ranking figures agree with scikit-learn and with a count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from training.next_basket import ranking


def _case(seed: int, rows: int = 20, items: int = 60) -> tuple[ranking.Floats, list[ranking.Indices]]:
    random = np.random.default_rng(seed)
    scores = random.permuted(np.tile(np.arange(items, dtype=np.float64), (rows, 1)), axis=1)
    baskets = [np.sort(random.choice(items, size=random.integers(1, 30), replace=False)) for _ in range(rows)]
    return scores, baskets


@given(seed=st.integers(0, 1000))
def test_ndcg_is_that_of_scikit_learn(seed: int) -> None:
    """Row by row, on scores without ties, for baskets smaller and larger than the depth."""
    scores, baskets = _case(seed)
    found = ranking.judge(ranking.first(scores), baskets)
    for row, basket in enumerate(baskets):
        bought = np.isin(np.arange(scores.shape[1]), basket).astype(np.float64)
        assert found.ndcg[row] == pytest.approx(ndcg_score(bought[None], scores[row][None], k=ranking.NDCG_DEPTH))


def test_the_figures_by_hand() -> None:
    """Three items bought, found at ranks 1 and 3, the third at rank 25."""
    scores = -np.arange(30, dtype=np.float64)[None]
    found = ranking.judge(ranking.first(scores), [np.array([0, 2, 24])])
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert found.ndcg[0] == pytest.approx((1 + 1 / np.log2(4)) / best)
    assert found.recall[0] == pytest.approx(2 / 3)


def test_equal_scores_rank_by_item_number() -> None:
    """So that a figure does not depend on the order in which a library sorts."""
    assert ranking.first(np.zeros((1, 30)), depth=3).tolist() == [[0, 1, 2]]
    assert ranking.first(np.array([[1.0, 2.0, 2.0, 0.0]]), depth=9).tolist() == [[1, 2, 0, 3]]


def test_scores_that_cannot_be_ordered_are_refused() -> None:
    """NaN would rank anywhere."""
    with pytest.raises(ValueError, match="NaN"):
        ranking.first(np.array([[0.0, np.nan]]))


def test_new_items_are_ranked_and_counted_without_what_was_bought_before() -> None:
    """A customer whose basket holds nothing new is left out."""
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    bought = np.array([[True, False, False], [True, True, False]])
    found = ranking.judge_new(scores, [np.array([0, 1]), np.array([0, 1])], bought)
    assert found.ndcg.tolist() == [1.0]
    assert found.recall.tolist() == [1.0]
    assert not len(ranking.judge_new(scores[1:], [np.array([0])], bought[1:]).ndcg)
