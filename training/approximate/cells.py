"""The vectors of very many classes → cells of equal size, each of vectors that are near to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

PADDING = -1
_ROUNDS = 10
_SAMPLE_A_CELL = 64
"""Points a cell that the means are found on; all points are sorted into cells afterwards."""

_SLACK = 1.1
"""Room in a cell over an equal share, so that few points miss the cell that they are nearest to."""

_ROWS = 8192
_MANY = np.float32(1e30)


def cut(points: Floats, count: int, *, seed: int) -> Indices:
    """k-means, then each point into the nearest cell that has room, the nearest points first.

    Args:
        points: float32 [K, D].
        count: of cells, C ≤ K.
        seed: of the points that the means start from.

    Returns:
        int64 [C, S]: the points of each cell, then `PADDING`.
    """
    centres = _means(points, count, np.random.default_rng(seed))
    cells = _places(points, centres, int(np.ceil(_SLACK * len(points) / count)))
    sizes = np.bincount(cells, minlength=count)
    order = np.argsort(cells, kind="stable")
    found = np.full((count, sizes.max()), PADDING, dtype=np.int64)
    column = np.arange(len(points)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    found[cells[order], column] = order
    return found


def _means(points: Floats, count: int, generator: np.random.Generator) -> Floats:
    """Lloyd's rounds on a sample; a cell that nobody is nearest to starts again at a random point."""
    sample = points[generator.permutation(len(points))[: max(count, _SAMPLE_A_CELL * count)]]
    centres = sample[:count].copy()
    for _ in range(_ROUNDS):
        cells, _ = _nearest(sample, centres, np.ones(count, dtype=np.bool_))
        sizes = np.bincount(cells, minlength=count)
        sums = np.zeros((count, points.shape[1]), dtype=np.float64)
        np.add.at(sums, cells, sample)
        centres = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
        empty = np.flatnonzero(sizes == 0)
        centres[empty] = sample[generator.integers(0, len(sample), len(empty))]
    return centres


def _places(points: Floats, centres: Floats, size: int) -> npt.NDArray[np.intp]:
    """The cell of each point, at most `size` points in each."""
    places = np.full(len(points), PADDING, dtype=np.intp)
    room = np.full(len(centres), size, dtype=np.intp)
    left = np.arange(len(points))
    while len(left):
        cells, distances = _nearest(points[left], centres, room > 0)
        order = np.lexsort((distances, cells))
        sizes = np.bincount(cells, minlength=len(centres))
        rank = np.arange(len(left)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        is_in = rank < room[cells[order]]
        taken = order[is_in]
        places[left[taken]] = cells[taken]
        room -= np.bincount(cells[taken], minlength=len(centres))
        left = left[np.sort(order[~is_in])]
    return places


def _nearest(points: Floats, centres: Floats, is_open: npt.NDArray[Any]) -> tuple[npt.NDArray[np.intp], Floats]:
    """The nearest open centre of each point, and its squared distance but for the point's own square."""
    offsets = np.where(is_open, np.square(centres).sum(axis=1), _MANY).astype(np.float32)
    cells = np.empty(len(points), dtype=np.intp)
    distances = np.empty(len(points), dtype=np.float32)
    for start in range(0, len(points), _ROWS):
        rows = slice(start, start + _ROWS)
        found = offsets - 2 * (points[rows] @ centres.T)
        cells[rows] = found.argmin(axis=1)
        distances[rows] = found.min(axis=1) + np.square(points[rows]).sum(axis=1)
    return cells, distances
