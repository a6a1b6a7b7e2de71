"""Columns of a data set as training keeps them → the tensors that the graph takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from clipmax.inputs import Input, TextInput, code_points
from training.data.dataset import Column, Indices, Split


def tensor(schema: Input, column: Column) -> torch.Tensor:
    """Rows of one column in the dtype and shape that the exported graph takes.

    Args:
        schema: of the column.
        column: images uint8 or float32 [n, …], numbers float32 [n, 1], categories int32 [n, 1], texts object [n].

    Returns:
        images float32 [n, …], numbers float32 [n, 1], categories int32 [n, 1], texts int32 [n, L] of code points.
    """
    if isinstance(schema, TextInput):
        return torch.from_numpy(code_points(column.tolist(), schema.max_length))
    return torch.from_numpy(np.ascontiguousarray(column, dtype=schema.dtype))


def tensors(inputs: Sequence[Input], split: Split, rows: Indices | slice) -> list[torch.Tensor]:
    """Chosen rows of a split, one tensor an input in the schema's order."""
    return [tensor(schema, _rows(split.columns[schema.name], rows)) for schema in inputs]


def batch(inputs: Sequence[Input], split: Split, rows: Indices | slice) -> list[Any]:
    """Chosen rows of a split as the encoders take them: prepared columns where there are any, bytes as they are."""
    return [
        split.prepared[schema.name][rows]
        if schema.name in split.prepared
        else _held(schema, split.columns[schema.name], rows)
        for schema in inputs
    ]


def _held(schema: Input, column: Column, rows: Indices | slice) -> torch.Tensor:
    """Rows as a tensor; pixels that are bytes stay bytes, which the encoder takes as well."""
    if column.dtype != np.uint8 or not column.flags.writeable:  # torch warns of what it must not write to
        return tensor(schema, _rows(column, rows))
    pixels = torch.from_numpy(column)
    return pixels[rows] if isinstance(rows, slice) else pixels.index_select(0, torch.from_numpy(rows))


def _rows(column: Column, rows: Indices | slice) -> Column:
    return column[rows] if isinstance(rows, slice) else column.take(rows, axis=0)  # a third of the time of an index
