"""Who or what bought which items → how the items go together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.data.baskets import Purchases
from training.next_basket.bought import CHUNK

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]


def ease(purchases: Purchases, items: int, ridge: float) -> Floats:
    """Weights of a linear model from all items bought to each item but itself, in closed form (EASE, Steck 2019).

    Returns:
        float32 [K, K], from the item of the row to that of the column, the diagonal 0.
    """
    inverse = np.linalg.inv(together(purchases.customers, purchases.items, items) + ridge * np.eye(items))
    weights = (inverse / -inverse.diagonal()).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights


def together(groups: Indices, members: Indices, items: int) -> Floats:
    """In how many groups two items are together: float64 [K, K], on the diagonal in how many an item is at all."""
    _, numbers = np.unique(groups, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    numbers, members = numbers[order], members[order]
    total = np.zeros((items, items))
    for start in range(0, int(numbers[-1]) + 1, CHUNK):
        low, high = np.searchsorted(numbers, (start, start + CHUNK))
        rows = np.zeros((CHUNK, items), dtype=np.float32)
        rows[numbers[low:high] - start, members[low:high]] = 1.0
        total += rows.T @ rows
    return total
