"""The same rows under another version's schema: its codes and origins; what cannot be brought under it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clipmax.inputs import CategoryInput, ImageInput, Input, NumberInput, TextInput
from clipmax.refusal import Refusal
from training.data.dataset import Dataset, Split
from training.data.recoding import recode

WORDS = CategoryInput(name="colour", categories=("amber", "blue"))
NUMBER = NumberInput(name="time", minimum=1e9, maximum=1e9 + 9, origin=1e9)
INPUTS: tuple[Input, ...] = (NUMBER, WORDS, TextInput(name="note", max_length=9))


def _dataset(inputs: tuple[Input, ...] = INPUTS) -> Dataset:
    columns = {
        "time": NUMBER.cast(np.array([1e9 + 1, np.nan, 1e9 + 9])),
        "colour": np.array([[2], [3], [1]], dtype=np.int32),
        "note": np.array(["a", "b", "c"], dtype=object),
    }
    split = Split(columns, np.array([0, 1, 0]))
    return Dataset(inputs, ("x", "y"), split, split, split, {})


def test_codes_are_those_of_the_version_whatever_the_order_of_its_columns() -> None:
    """A known word has its code, another that of an unknown one, a missing one stays missing."""
    theirs = (INPUTS[2], WORDS.model_copy(update={"categories": ("azure", "blue")}), NUMBER)
    found = recode(_dataset(), theirs, where=Path("models/x/1"))
    assert found.inputs == theirs
    for split in found.splits.values():
        assert split.columns["colour"].tolist() == [[0], [3], [1]]
        assert split.columns["colour"].dtype == np.int32
        assert split.columns["note"].tolist() == ["a", "b", "c"]


def test_numbers_are_counted_from_the_origin_of_the_version() -> None:
    """Less its origin, in float64 before the cast; missing stays missing, and what is out of its range stays."""
    theirs = (NUMBER.model_copy(update={"origin": 1e9 + 5, "maximum": 1e9 + 6}), *INPUTS[1:])
    found = recode(_dataset(), theirs, where=Path("models/x/1")).train.columns["time"][:, 0]
    np.testing.assert_array_equal(found, np.array([-4, np.nan, 4], dtype=np.float32))


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (INPUTS[:2], "inputs: expected no other columns than its own, found note"),
        ((*INPUTS, WORDS.model_copy(update={"name": "size"})), "input size: expected a column of this name"),
        (
            (*INPUTS[:2], NUMBER.model_copy(update={"name": "note"})),
            "input note: expected a number, as it was, found a te",
        ),
    ],
)
def test_other_columns_are_refused(theirs: tuple[Input, ...], message: str) -> None:
    """By name, with what the version has."""
    with pytest.raises(Refusal, match=message):
        recode(_dataset(), theirs, where=Path("models/x/1"))


def test_images_of_another_size_are_refused() -> None:
    """Nothing is scaled in silence; another range of pixels is clipped by the graph."""
    image = ImageInput(name="image", shape=(2, 2))
    split = Split({"image": np.zeros((3, 2, 2), dtype=np.uint8)}, np.array([0, 1, 0]))
    dataset = replace(_dataset((image,)), train=split, validation=split, test=split)
    assert recode(dataset, (image.model_copy(update={"maximum": 16.0}),), where=Path("x")).inputs[0] != image
    with pytest.raises(Refusal, match="input image: expected 2 × 3, found 2 × 2"):
        recode(dataset, (ImageInput(name="image", shape=(2, 3)),), where=Path("x"))
