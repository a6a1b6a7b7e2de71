"""A way in → rows that try a graph: ordinary ones of every size, and both ends of a range in every pattern."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from clipmax.inputs import ImageInput, Input, Tensor

ROWS = 256
_SCALES = (0.1, 1.0, 10.0, 100.0)
_PATTERNS = 64


def ordinary(schemas: tuple[Input, ...]) -> dict[str, Tensor]:
    """256 rows by input name: numbers around 0 of four sizes, or images from noise to black and white."""
    generator = np.random.default_rng(0)
    if isinstance(schemas[0], ImageInput):
        return {schemas[0].name: _images(schemas[0], generator)}
    scales = np.repeat(_SCALES, ROWS // len(_SCALES))[:, None]
    return columns(schemas, generator.normal(size=(ROWS, len(schemas))) * scales)


def ends(schemas: tuple[Input, ...], bound: float) -> dict[str, Tensor]:
    """Rows at ± `bound`: all high, all low, alternating, one column alone, and signs and sizes at random."""
    generator = np.random.default_rng(1)
    if isinstance(schemas[0], ImageInput):
        return {schemas[0].name: _images(schemas[0], generator) / np.float32(255.0) * np.float32(bound)}
    width = len(schemas)
    alone = np.eye(width)[:_PATTERNS]
    signs = generator.choice([-1.0, 1.0], (_PATTERNS, width))
    sizes = 10.0 ** generator.uniform(-8, 0, (_PATTERNS, width))
    turns = np.where(np.arange(width) % 2, 1.0, -1.0)[None, :]
    rows = [np.ones((1, width)), -np.ones((1, width)), turns, -turns, alone, -alone, signs, signs * sizes]
    return columns(schemas, np.concatenate(rows) * bound)


def columns(schemas: tuple[Input, ...], rows: Tensor) -> dict[str, Tensor]:
    """Numbers, float [rows, columns] → float32 [rows, 1] by input name."""
    table = rows.astype(np.float32)
    return {schema.name: table[:, place : place + 1] for place, schema in enumerate(schemas)}


def take(tensors: Mapping[str, Tensor], rows: slice | Tensor) -> dict[str, Tensor]:
    """Some rows of every tensor."""
    return {name: tensor[rows] for name, tensor in tensors.items()}


def count(tensors: Mapping[str, Tensor]) -> int:
    """How many rows there are."""
    return len(next(iter(tensors.values())))


def _images(schema: ImageInput, generator: np.random.Generator) -> Tensor:
    """Noise, dark noise, bright blocks and plain gray, with the first two rows black and white."""
    shape = (ROWS, *schema.shape)
    noise = generator.uniform(0.0, 255.0, shape)
    noise[::4] *= generator.uniform(0.0, 1.0, (ROWS // 4, *(1,) * len(schema.shape)))
    noise[1::4] = np.where(noise[1::4] > generator.uniform(0, 255, (ROWS // 4, *(1,) * len(schema.shape))), 255.0, 0.0)
    noise[2::4] = generator.uniform(0.0, 255.0, (ROWS // 4, *(1,) * len(schema.shape)))
    noise[0], noise[1] = 0.0, 255.0
    return noise.astype(np.float32)
