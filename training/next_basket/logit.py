"""Purchases before a day → a softmax over all items with five weights: the conditional logit of next baskets.

Its features of an item for a customer: log(1 + times bought), log(1 + times bought lately, each basket counted
exp(-days / 60)), whether it was bought at all, the score of EASE where it was not, and log(1 + recent popularity).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.data import baskets
from training.data.baskets import Task
from training.next_basket import bought as histories
from training.next_basket import choice, cooccurrence
from training.next_basket.bought import Bought, Past

Floats = npt.NDArray[np.floating]

FEATURES = ("times", "lately", "seen", "related", "recent")
WINDOWS = (7.0, 30.0)
"""Days of recent popularity, to choose from on the validation split."""

_ASKED_DAYS = 30.0
_MOST_ASKED = 2048
"""Customers that the weights are fitted on, at most: bounds memory, ample for five weights."""
_RIDGE = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Related:
    """What is known of K items at a day: how they go together, float32 [K, K], and log(1 + popularity), float32 [K]."""

    weights: Floats
    recent: Floats

    @classmethod
    def fit(cls, past: Past, window: float) -> Related:
        recent = histories.popularity(past.purchases.since(past.day - window), past.items)
        return cls(cooccurrence.ease(past.purchases, past.items, _RIDGE), np.log1p(recent))

    def features(self, bought: Bought) -> Floats:
        """In the order of `FEATURES`: float32 [5, R, K]."""
        seen = bought.seen.astype(np.float32)
        related = (seen @ self.weights) * (1.0 - seen)
        recent = np.broadcast_to(self.recent, seen.shape)
        return np.stack([np.log1p(bought.times), np.log1p(bought.lately), seen, related, recent])


@dataclass(frozen=True, slots=True, eq=False)
class Logit:
    """A fitted model.

    Args:
        weights: one a feature, float64 [5].
        related: the items at the end of the past.
        customers: how many the weights were fitted on.
        steps: of Newton's method that were made.
    """

    weights: Floats
    related: Related
    customers: int
    steps: int

    def scores(self, bought: Bought) -> Floats:
        """The logits: float32 [R, K]."""
        return choice.scores(self.related.features(bought), self.weights)


def fit(past: Past, window: float) -> Logit:
    """The weights by the first baskets of the last 30 days, from what was known before them; then the rest anew.

    So EASE does not see what it is weighed by. With nobody to learn from all weights are 0.

    Args:
        past: everything that is known.
        window: days of recent popularity.
    """
    task = _some(baskets.task(past.purchases, past.day - _ASKED_DAYS))
    weights, steps = _weights(task, past.items, window) if len(task) else (np.zeros(len(FEATURES)), 0)
    return Logit(weights, Related.fit(past, window), len(task), steps)


def wanted(task: Task, items: int) -> Floats:
    """What was bought next, every item of a basket of the same share: float32 [R, K], each row sums to 1."""
    found = np.zeros((len(task), items), dtype=np.float32)
    for row, basket in enumerate(task.baskets):
        found[row, basket] = 1.0 / len(basket)
    return found


def _weights(task: Task, items: int, window: float) -> tuple[Floats, int]:
    related = Related.fit(Past(task.past, items, task.day), window)
    features = related.features(histories.of_rows(task, slice(None), items))
    *before, weights = choice.path(features, wanted(task, items))
    return weights, len(before)


def _some(task: Task) -> Task:
    """Not more customers than are needed."""
    asked = np.sort(np.random.default_rng(0).permutation(len(task))[:_MOST_ASKED])
    return Task(task.day, task.past, task.customers[asked], tuple(task.baskets[row] for row in asked))
