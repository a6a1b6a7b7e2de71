"""The vectors of very many classes → cells of equal size, each of vectors that are near to each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

PADDING = -1
_ROUNDS = 15
"""Of the power method. An exact direction is not needed: any that parts the points well will do."""

_LEAST_LENGTH = 1e-30
"""Of a direction: that of equal points is 0."""


def cut(points: Floats, size: int, *, seed: int = 0) -> Indices:
    """Halve the points along the direction in which they vary most, and each half again, down to one cell.

    Args:
        points: float32 [K, D].
        size: of a cell, S.
        seed: of the vectors that each direction is found from.

    Returns:
        int64 [C, S], C = K / S rounded up: the points of each cell. All are full but one, which ends in `PADDING`.
    """
    generator = np.random.default_rng(seed)
    found = np.full((-(-len(points) // size), size), PADDING, dtype=np.int64)
    waiting, cell = [np.arange(len(points))], 0
    while waiting:
        members = waiting.pop()
        if len(members) <= size:
            found[cell, : len(members)] = members
            cell += 1
        else:
            waiting += _halves(points, members, size, generator)
    return found


def _halves(points: Floats, members: Indices, size: int, generator: np.random.Generator) -> tuple[Indices, Indices]:
    """The first half is of whole cells."""
    vectors = points[members]
    vectors -= vectors.mean(axis=0)
    order = np.argsort(vectors @ _widest(vectors, generator), kind="stable")
    half = -(-len(members) // size) // 2 * size
    return members[order[:half]], members[order[half:]]


def _widest(centred: Floats, generator: np.random.Generator) -> Floats:
    """About the first principal direction: float32 [D]; any, of equal points."""
    moments = centred.T @ centred
    direction = generator.normal(size=len(moments)).astype(np.float32)
    for _ in range(_ROUNDS):
        moved = moments @ direction
        direction = (moved / max(float(np.linalg.norm(moved)), _LEAST_LENGTH)).astype(np.float32)
    return direction
