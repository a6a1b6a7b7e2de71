"""A portion of a file's rows on its way to a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from clipmax.client.rows import Instances
from clipmax.refusal import Refusal

ROWS = 256
"""Most rows of a batch; so many the service runs at once."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that gets no answer, counted from 0, and why."""

    number: int
    why: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, as `Client.predict` takes them.

    Attributes:
        numbers: of each row in its file, counted from 0.
        rows: as many.
        files: the file of each row, where each is one.
        bad: rows of the file that could not even be read.
        done: share of the file that has been read by now.
    """

    numbers: list[int]
    rows: Instances
    files: list[str] | None = None
    bad: list[BadRow] = field(default_factory=list)
    done: float = 0.0

    @property
    def end(self) -> int:
        """One more than the highest number in it."""
        return 1 + max([*self.numbers, *(row.number for row in self.bad)])

    def within(self, first: int, stop: int | None) -> Batch:
        """Only the rows from `first` to before `stop`."""
        kept = [place for place, number in enumerate(self.numbers) if _is_within(number, first, stop)]
        start, end = (kept[0], kept[-1] + 1) if kept else (0, 0)
        return replace(
            self,
            numbers=self.numbers[start:end],
            rows=self.rows[start:end],
            files=None if self.files is None else self.files[start:end],
            bad=[row for row in self.bad if _is_within(row.number, first, stop)],
        )


def select(batches: Iterable[Batch], *, index: int | None, limit: int | None, where: Path) -> Iterator[Batch]:
    """The row `index`, or the first `limit` rows, or all; no more of the file is read than that needs.

    Raises:
        Refusal: there is no row `index`.
    """
    first, stop = (0, limit) if index is None else (index, index + 1)
    end = 0
    for batch in batches:
        end = batch.end
        if end > first >= 0:
            yield batch.within(first, stop)
        if stop is not None and end >= stop:
            break
    if index is not None and not 0 <= index < end:
        raise Refusal(where, "index", expected=f"0 to {end - 1}", found=str(index))


def _is_within(number: int, first: int, stop: int | None) -> bool:
    return number >= first and (stop is None or number < stop)
