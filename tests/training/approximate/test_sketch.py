"""A last layer and hidden values → 8-bit integers that rank classes nearly alike."""

from __future__ import annotations

import numpy as np
import pytest

from training.approximate import sketch
from training.approximate.layer import Layer

CLASSES, WIDTH = 3000, 24


def layer() -> Layer:
    generator = np.random.default_rng(0)
    weight, bias = generator.normal(size=(CLASSES, WIDTH)), 2 * generator.normal(size=CLASSES) - 9
    return Layer("hidden", weight.astype(np.float32), bias.astype(np.float32))


def rows(count: int, *, seed: int) -> np.ndarray:
    """float32 [count, WIDTH]: most of what varies does so along a third of the directions, and the mean is not 0."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(count, WIDTH)) * np.where(np.arange(WIDTH) < WIDTH // 3, 1.0, 0.1) + 0.5
    return values.astype(np.float32)


def exact(hidden: np.ndarray) -> np.ndarray:
    return hidden @ layer().weight.T + layer().bias


@pytest.mark.parametrize("dimensions", [WIDTH + 1, 1000])
def test_with_all_directions_only_rounding_is_left(dimensions: int) -> None:
    """Which is small beside the spread of the scores. More dimensions than there are, are not taken."""
    found = sketch.make(layer(), rows(2000, seed=1), dimensions)
    assert found.weight.shape == (CLASSES, WIDTH + 1)
    hidden = rows(50, seed=2)
    error = found.scores(hidden) - exact(hidden)
    assert np.sqrt(np.square(error).mean()) < exact(hidden).std() / 20


def test_few_directions_hold_most_where_the_rows_vary_along_few() -> None:
    """A third of them, and the bias."""
    found = sketch.make(layer(), rows(2000, seed=1), WIDTH // 3 + 1)
    hidden = rows(50, seed=2)
    error = found.scores(hidden) - exact(hidden)
    assert np.sqrt(np.square(error - error.mean()).mean()) < 0.5 < exact(hidden).std() / 4


def test_integers_keep_to_their_bits() -> None:
    """Rows far outside those that it was made from are cut, and products of pairs fit into 16 bits."""
    found = sketch.make(layer(), rows(2000, seed=1), 9)
    integers = found.integers(100 * rows(20, seed=2))
    assert (integers.min(), integers.max()) == (-128, 127)
    assert np.abs(found.weight).max() == sketch.HIGHEST
    assert 2 * 255 * sketch.HIGHEST < 2**15


def test_rows_that_do_not_vary_make_a_sketch_too() -> None:
    """The bias ranks the classes then."""
    same = np.repeat(rows(1, seed=1), 30, axis=0)
    found = sketch.make(layer(), same, 9)
    assert np.isfinite(found.scores(same)).all()
    best = exact(same)[0].argmax()
    assert found.scores(same)[0, best] >= np.sort(found.scores(same)[0])[-3]
