"""What the report finds, and that it finds nothing where nothing is odd."""

from __future__ import annotations

import numpy as np
import pytest

from clipmax.inputs import CategoryInput, ImageInput, Input, NumberInput, TextInput
from training.data import report
from training.data.dataset import Column, Dataset, Split

NUMBER = NumberInput(name="n", minimum=0, maximum=1)


def _dataset(inputs: tuple[Input, ...], columns: dict[str, Column], labels: list[int]) -> Dataset:
    """The first half for training, a quarter each for validation and test."""
    rows = Split(columns, np.array(labels), rows=np.arange(101, 101 + len(labels)))
    ends = len(labels) // 2, 3 * len(labels) // 4
    train, validation, test = (rows.take(part) for part in np.split(np.arange(len(labels)), ends))
    return Dataset(inputs, ("no", "yes"), train, validation, test, {})


def _numbers(values: list[float], labels: list[int] | None = None) -> list[str]:
    column = np.array(values, dtype=np.float32)[:, None]
    return report.lines(_dataset((NUMBER,), {"n": column}, labels or [0, 1] * (len(values) // 2)))


def _line(found: list[str], name: str) -> str:
    (line,) = [line for line in found if line.startswith(f"{name}:")]
    return line


def test_a_table_without_oddities_has_one_line() -> None:
    """On its classes."""
    assert _numbers(list(range(16)), [0, 1, 1, 0] * 4) == [
        "classes: 2, the most frequent 'no' 50.0%, the rarest 'yes' 50.0% (4 rows)"
    ]


def test_duplicates_are_told_from_leaks() -> None:
    """Within a split they waste rows, across splits they flatter the test; each with both rows."""
    found = _numbers([0, 1, 2, 3, 4, 5, 2, 6, 7, 8, 9, 10, 11, 12, 13, 4], [0, 1, 0, 0, 1, 1, 0, 1] + [0, 1, 1, 0] * 2)
    assert _line(found, "duplicates") == "duplicates: 1 of 8 rows within train (train row 107 repeats row 103)"
    assert "1 rows (25.0%) of test are also in train (test row 116 = train row 105)" in _line(found, "leak")
    assert "1 rows have the same input as another but another label" in _line(found, "contradictions")


def test_missing_and_constant_columns_are_named() -> None:
    """With the share and the first row."""
    words = CategoryInput(name="w", categories=("a",))
    columns: dict[str, Column] = {
        "n": np.array([np.nan, *range(15)], dtype=np.float32)[:, None],
        "w": np.full((16, 1), 2, dtype=np.int32),
    }
    found = report.lines(_dataset((NUMBER, words), columns, [0, 1, 1, 0] * 4))
    assert _line(found, "missing") == "missing: 'n' 12.5% (row 101)"
    assert _line(found, "constant").startswith("constant: column 'w' has one value in all 8 training rows")


@pytest.mark.parametrize("kind", ["number", "category", "text"])
def test_a_column_that_gives_the_label_away_is_named(kind: str) -> None:
    """Learned by heart from the training rows, it tells the label of the validation rows."""
    labels = [0, 1, 1, 0, 1] * 40
    columns: dict[str, tuple[Input, Column]] = {
        "number": (NUMBER, np.array(labels, dtype=np.float32)[:, None] * 9 + np.arange(200)[:, None] / 1000),
        "category": (CategoryInput(name="n", categories=("a", "b")), np.array(labels, dtype=np.int32)[:, None] + 2),
        "text": (TextInput(name="n", max_length=9), np.array([f"is {label}" for label in labels], dtype=object)),
    }
    schema, column = columns[kind]
    found = report.lines(_dataset((schema,), {"n": column}, labels))
    assert "column 'n' alone tells the label of 50 of 50 validation rows" in _line(found, "giveaway")


def test_images_are_compared_too() -> None:
    """By their pixels."""
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 3), dtype=np.uint8)
    images[15] = images[0]
    found = report.lines(_dataset((ImageInput(name="image", shape=(3, 3)),), {"image": images}, [0, 1] * 8))
    assert "test row 116 = train row 101" in _line(found, "leak")


def test_equal_numbers_are_equal_however_they_are_written() -> None:
    """-0.0 and 0.0, and NaN of any bits."""
    odd = np.array([0xFFC00001, 0x7FC00000], dtype=np.uint32).view(np.float32)
    found = _numbers([0.0, -0.0, *odd.tolist(), *range(1, 13)])
    assert _line(found, "duplicates").startswith("duplicates: 2 of 8 rows")
