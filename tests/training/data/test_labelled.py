"""Rows with labels are read from tables, archives and runs, and refused with their row where they cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipmax.inputs import ImageInput, NumberInput
from clipmax.refusal import Refusal
from tests.training import rows
from training import run_file
from training.data import labelled

CSV = "a,kind,b\n1,x,2\n3,y,4\n"


def table(folder: Path, text: str) -> labelled.Labelled:
    """A CSV with the label in the column `kind`."""
    path = folder / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return labelled.read(path, label="kind")


def archive(folder: Path, **arrays: object) -> labelled.Labelled:
    """A NumPy archive."""
    np.savez(folder / "rows.npz", **arrays)  # type: ignore[arg-type]
    return labelled.read(folder / "rows.npz", label=None)


def test_a_table_gives_numbers_and_classes(tmp_path: Path) -> None:
    """In the order that is asked for; a word that no label has is -1, or refused with its row."""
    found = table(tmp_path, CSV)
    np.testing.assert_array_equal(found.matrix(("b", "a")), [[2, 1], [4, 3]])
    np.testing.assert_array_equal(found.classes(("y", "x")), [1, 0])
    np.testing.assert_array_equal(found.classes(("x", "z")), [0, -1])
    with pytest.raises(Refusal, match="label of row 2: expected one of the 2 labels, found 'y'"):
        found.known_classes(("x", "z"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,kind,b\n1,x,2\n,y,4\n", "column 'a', row 2: expected a number, found nothing"),
        ("a,kind,b\n1,x,2\nword,y,4\n", "column 'a', row 2"),
        ("a,kind,b\n1,x,2\n3,,4\n", "column 'kind', row 2: expected a label, found nothing"),
        ("a,sort,b\n1,x,2\n", "one named 'kind'"),
    ],
)
def test_cells_that_cannot_be_used_are_named(text: str, message: str, tmp_path: Path) -> None:
    """By column and row."""
    with pytest.raises(Refusal, match=message):
        table(tmp_path, text).matrix(("a", "b"))


def test_archives_hold_numbers_or_words(tmp_path: Path) -> None:
    """Under either pair of names; images are laid out as the input wants them."""
    pixels = np.arange(32, dtype=np.uint8).reshape(2, 16)
    found = archive(tmp_path, x_test=pixels, y_test=np.array([1, 0]))
    np.testing.assert_array_equal(found.classes(("a", "b")), [1, 0])
    split = found.split((ImageInput(name="image", shape=(4, 4)),), np.array([1, 0]))
    assert split.columns["image"].shape == (2, 4, 4)
    with pytest.raises(Refusal, match="label of row 1: expected 0 to 0, found 1"):
        found.classes(("a",))
    with pytest.raises(Refusal, match="a table with the column 'n', found arrays"):
        found.split((NumberInput(name="n", minimum=0, maximum=1),), np.array([1, 0]))
    assert archive(tmp_path, x=pixels, y=np.array(["b", "a"])).words == ["b", "a"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((2, 3))}, "arrays: expected x, y or x_test, y_test"),
        ({"x": np.ones((2, 3)), "y": np.array([0])}, "one class number or label a row"),
        ({"x": np.ones((2, 3)), "y": np.array([0, -1])}, "class numbers from 0"),
        ({"x": np.full((2, 3), np.nan), "y": np.array([0, 1])}, "finite numbers"),
        ({"x": np.array([object()] * 2), "y": np.array([0, 1])}, "without objects"),
    ],
)
def test_archives_that_cannot_be_used_are_refused(arrays: dict[str, object], message: str, tmp_path: Path) -> None:
    """Objects above all: they are pickles."""
    with pytest.raises(Refusal, match=message):
        archive(tmp_path, **arrays)


def test_a_run_stands_for_its_test_split(tmp_path: Path) -> None:
    """Of its test file, with words, gaps and all, as the file has them."""
    path = rows.write(tmp_path)
    found = labelled.test_split(run_file.read(path), path)
    assert (len(found), found.where.name) == (rows.TEST_ROWS, "test.csv")
    direct = labelled.read(tmp_path / "test.csv", label="class").table
    assert found.table is not None
    assert direct is not None
    assert found.table.equals(direct)
