"""Class vectors → cells of equal size."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.approximate.cells import PADDING, cut


@given(size=st.integers(1, 12), points=st.integers(1, 200), seed=st.integers(0, 5))
def test_each_class_is_in_one_cell_and_all_cells_but_one_are_full(size: int, points: int, seed: int) -> None:
    """Whatever the vectors are, equal ones too."""
    vectors = np.random.default_rng(seed).integers(0, 2, (points, 4)).astype(np.float32)
    cells = cut(vectors, size, seed=seed)
    assert sorted(cells[cells != PADDING].tolist()) == list(range(points))
    assert cells.shape == (-(-points // size), size)
    assert ((cells == PADDING).any(axis=1)).sum() <= 1


def test_classes_of_a_cell_are_near_to_each_other() -> None:
    """Where they lie in groups, a cell's spread is a small part of that of all."""
    generator = np.random.default_rng(0)
    means = 10 * generator.normal(size=(40, 8))
    vectors = (means[generator.integers(0, 40, 2000)] + generator.normal(size=(2000, 8))).astype(np.float32)
    cells = cut(vectors, 25, seed=3)
    within = [vectors[cell].var(axis=0).sum() for cell in cells]
    assert np.mean(within) < 0.25 * vectors.var(axis=0).sum()
