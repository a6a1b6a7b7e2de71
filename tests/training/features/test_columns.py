"""Columns as the tensors that the graph takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipmax.inputs import CategoryInput, ImageInput, Input, NumberInput, TextInput
from training.data.dataset import Column, Indices, Split
from training.features import columns


@pytest.mark.parametrize(
    ("schema", "column", "expected"),
    [
        (
            ImageInput(name="i", shape=(1, 2)),
            np.array([[[0, 255]]], dtype=np.uint8),
            torch.tensor([[[0.0, 255.0]]]),
        ),
        (
            NumberInput(name="n", minimum=0, maximum=1),
            np.array([[0.5], [2.0]], dtype=np.float32),
            torch.tensor([[0.5], [2.0]]),
        ),
        (
            CategoryInput(name="c", categories=("a",)),
            np.array([[2], [0]], dtype=np.int32),
            torch.tensor([[2], [0]], dtype=torch.int32),
        ),
        (
            TextInput(name="t", max_length=2),
            np.array(["a", "中文and more"], dtype=object),
            torch.tensor([[97, 0, 0], [0x4E2D, 0x6587, 97]], dtype=torch.int32),
        ),
    ],
    ids=["image", "number", "category", "text"],
)
def test_every_kind_of_column_becomes_its_tensor(schema: Input, column: Column, expected: torch.Tensor) -> None:
    """In dtype and shape as the schema says; a text longer than the graph reads keeps one code point more."""
    found = columns.tensor(schema, column)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize("rows", [np.array([2, 0]), slice(1, 3)], ids=["numbers", "slice"])
def test_a_batch_of_bytes_holds_the_chosen_rows(rows: Indices | slice, writeable: bool) -> None:
    """As bytes or as floats, for the encoder takes both; a file that is mapped read-only included."""
    pixels = np.arange(6, dtype=np.uint8).reshape(3, 1, 2)
    pixels.flags.writeable = writeable
    split = Split({"i": pixels}, np.zeros(3, dtype=np.int64))
    (found,) = columns.batch([ImageInput(name="i", shape=(1, 2))], split, rows)
    assert found.tolist() == pixels[rows].tolist()
