"""A row of a table as its file has it → the object of inputs that the model takes."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from clipmax.client import ModelMetadata
from clipmax.refusal import Refusal, shorten

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)


class Columns:
    """The columns that are inputs of the model; others, the label for example, are left out.

    Args:
        metadata: of the model.
        missing: strings that stand for a missing value, as `data.missing` of a training run has them.
    """

    def __init__(self, metadata: ModelMetadata, missing: Collection[str]) -> None:
        self._kinds = {one.name: one.kind for one in metadata.inputs}
        self._missing = frozenset(missing)

    @property
    def names(self) -> list[str]:
        """Of the model's inputs."""
        return list(self._kinds)

    def check(self, names: Sequence[str], where: Path) -> None:
        """Raises Refusal for a header that lacks an input."""
        for name in self._kinds:
            if name not in names:
                raise Refusal(where, "columns", expected=f"one named {name!r}", found=shorten(", ".join(names)))

    def of_strings(self, cells: Mapping[str, str]) -> dict[str, object]:
        """Of a file that knows strings only. What should be a number and is none stays a string, to be refused."""
        return {name: self._value(kind, cells[name]) for name, kind in self._kinds.items()}

    def of_values(self, row: object) -> object:
        """Of a file that knows types. A row that is no object, or none of inputs, is left as it is."""
        if not isinstance(row, dict) or not row.keys() & self._kinds.keys():
            return row  # of a model of one input the row itself: a history
        return {name: self._present(kind, row[name]) for name, kind in self._kinds.items() if name in row}

    def _value(self, kind: str, cell: str) -> object:
        if kind == "number" and _NUMBER.fullmatch(cell.strip()):
            return float(cell)
        return self._present(kind, cell)

    def _present(self, kind: str, value: object) -> object:
        """A missing text is an empty one, as in training; infinity, which JSON lacks, is a word, as in a CSV."""
        if isinstance(value, float) and math.isinf(value):
            return str(value)
        if isinstance(value, str) and value in self._missing:
            value = None
        return "" if value is None and kind == "text" else value
