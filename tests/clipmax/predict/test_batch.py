"""Of batches, the rows that were chosen, and no more of the file than they need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clipmax.predict.batch import BadRow, Batch, select
from clipmax.refusal import Refusal

WHERE = Path("rows.csv")


def batches(read: list[int]) -> Iterator[Batch]:
    """Rows 0 to 8 in threes, row 4 bad; `read` notes what was taken."""
    for start in (0, 3, 6):
        read.append(start)
        numbers = [number for number in range(start, start + 3) if number != 4]
        yield Batch(numbers, list(map(str, numbers)), bad=[BadRow(4, "why")] if start == 3 else [])


@pytest.mark.parametrize(
    ("index", "limit", "numbers", "bad", "taken"),
    [
        (None, None, [0, 1, 2, 3, 5, 6, 7, 8], 1, [0, 3, 6]),
        (None, 2, [0, 1], 0, [0]),
        (None, 5, [0, 1, 2, 3], 1, [0, 3]),
        (None, 100, [0, 1, 2, 3, 5, 6, 7, 8], 1, [0, 3, 6]),
        (7, None, [7], 0, [0, 3, 6]),
        (4, None, [], 1, [0, 3]),
    ],
)
def test_rows_are_chosen_by_their_numbers(
    index: int | None, limit: int | None, numbers: list[int], bad: int, taken: list[int]
) -> None:
    """A bad row is a row too."""
    read: list[int] = []
    found = list(select(batches(read), index=index, limit=limit, where=WHERE))
    assert [number for batch in found for number in batch.numbers] == numbers
    assert [row for batch in found for row in batch.rows] == list(map(str, numbers))
    assert sum(len(batch.bad) for batch in found) == bad
    assert read == taken


@pytest.mark.parametrize("index", [9, -1])
def test_a_row_that_is_not_there_is_refused(index: int) -> None:
    """With the numbers that are."""
    with pytest.raises(Refusal, match="expected 0 to"):
        list(select(batches([]), index=index, limit=None, where=WHERE))
