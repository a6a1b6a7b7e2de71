"""Purchases before a point in time → what each customer bought, counted, or as the graph and a client have it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipmax.history import History
from training.data.baskets import Purchases, Task

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

DECAY_DAYS = 60.0
"""After so many days a purchase counts 1/e. Of 30, 60 and 120 the first two reach the same on Online Retail's
validation month."""

CHUNK = 1024
"""Customers or baskets that are held as full rows of K numbers at a time."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a method is fitted on: `purchases` of K items, all before `day`."""

    purchases: Purchases
    items: int
    day: float


@dataclass(frozen=True, slots=True)
class Bought:
    """What R customers bought before a day.

    Args:
        times: in how many baskets each item was, float32 [R, K].
        lately: the same, each basket counted exp(-days since / 60), float32 [R, K].
    """

    times: Floats
    lately: Floats

    @property
    def seen(self) -> Flags:
        """Which items each customer bought at all: bool [R, K]."""
        return self.times > 0


def chunks(task: Task, items: int) -> Iterator[tuple[slice, Bought]]:
    """All customers of a task, a thousand at a time."""
    for start in range(0, len(task), CHUNK):
        rows = slice(start, start + CHUNK)
        yield rows, of_rows(task, rows, items)


def of_rows(task: Task, rows: slice, items: int) -> Bought:
    """What some of a task's customers bought before its day."""
    customers = task.customers[rows]
    mine = np.isin(task.past.customers, customers)
    places = np.searchsorted(customers, task.past.customers[mine]) * items + task.past.items[mine]
    weights = np.exp((task.past.days[mine] - task.day) / DECAY_DAYS)
    size = len(customers) * items
    return Bought(
        np.bincount(places, minlength=size).reshape(-1, items).astype(np.float32),
        np.bincount(places, weights, minlength=size).reshape(-1, items).astype(np.float32),
    )


def popularity(purchases: Purchases, items: int) -> Floats:
    """In how many baskets each item was: float32 [K]."""
    return np.bincount(purchases.items, minlength=items).astype(np.float32)


def histories(task: Task, items: Sequence[str]) -> Iterator[History]:
    """Of each customer of a task, in order, as a client would send it, oldest purchase first."""
    past = task.past
    order = np.argsort(past.customers, kind="stable")
    bounds = np.searchsorted(past.customers[order], np.stack([task.customers, task.customers + 1], axis=1))
    for first, last in bounds.tolist():
        mine = order[first:last]
        days_ago = task.day - past.days[mine]
        yield History([items[item] for item in past.items[mine]], days_ago.tolist())
