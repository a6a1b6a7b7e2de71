"""Scores of all items and what was bought → NDCG@10 and recall@20, one value a customer.

Every item is ranked: figures over a sample of the items order models differently (Krichene & Rendle 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NDCG_DEPTH = 10
RECALL_DEPTH = 20
_DISCOUNTS = 1.0 / np.log2(np.arange(2, NDCG_DEPTH + 2))


@dataclass(frozen=True, slots=True)
class Ranked:
    """The two figures of R customers, each float64 [R] in 0 to 1.

    Args:
        ndcg: of the first 10: the sum of 1 / log2(rank + 1) over those that were bought, divided by the highest that
            a basket of this size allows (Järvelin & Kekäläinen 2002, each bought item worth the same).
        recall: share of the basket's items that are among the first 20; a basket of more than 20 cannot reach 1.
    """

    ndcg: Floats
    recall: Floats

    @property
    def means(self) -> tuple[float, float]:
        return float(self.ndcg.mean()), float(self.recall.mean())


def joined(parts: Sequence[Ranked]) -> Ranked:
    """Of customers one part after the other."""
    return Ranked(np.concatenate([one.ndcg for one in parts]), np.concatenate([one.recall for one in parts]))


def first(scores: Floats, depth: int = RECALL_DEPTH) -> Indices:
    """The items of the highest scores, best first, equal ones by item number: [R, K] → int64 [R, min(depth, K)].

    Raises:
        ValueError: a score that is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("scores that can be ordered; one is NaN")
    depth = min(depth, scores.shape[1])
    least = -np.partition(-scores, depth - 1, axis=1)[:, depth - 1]
    return np.stack([_first_of_row(row, limit, depth) for row, limit in zip(scores, least, strict=True)])


def _first_of_row(row: Floats, limit: float, depth: int) -> Indices:
    """Only items that can be among the first are sorted."""
    items = np.flatnonzero(row >= limit)
    return items[np.argsort(-row[items], kind="stable")[:depth]]


def judge(ranked: Indices, baskets: Sequence[Indices]) -> Ranked:
    """The figures of ranked items.

    Args:
        ranked: items of each customer, best first, at least as many as the depths or all there are: [R, depth].
        baskets: what each of the R customers bought, none twice, at least one.
    """
    hits = np.stack([np.isin(items, basket) for items, basket in zip(ranked, baskets, strict=True)])
    sizes = np.array([len(basket) for basket in baskets])
    top = hits[:, :NDCG_DEPTH]
    best = np.cumsum(_DISCOUNTS)[np.minimum(sizes, NDCG_DEPTH) - 1]
    return Ranked(
        ndcg=top @ _DISCOUNTS[: top.shape[1]] / best,
        recall=hits[:, :RECALL_DEPTH].sum(axis=1) / sizes,
    )


def judge_new(scores: Floats, baskets: Sequence[Indices], bought: Flags) -> Ranked:
    """The figures on items that a customer never bought: only these are ranked, and only these count.

    Args:
        scores: [R, K].
        baskets: as in `judge`; customers who bought nothing new are left out of the result.
        bought: bool [R, K], what each bought before.
    """
    unseen = [basket[~bought[row, basket]] for row, basket in enumerate(baskets)]
    rows = np.flatnonzero([len(basket) > 0 for basket in unseen])
    if not len(rows):
        return Ranked(np.zeros(0), np.zeros(0))
    hidden = np.where(bought[rows], -np.inf, scores[rows])
    return judge(first(hidden), [unseen[row] for row in rows])
