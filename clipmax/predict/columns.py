"""A row of a table as its file has it → the object of inputs that the model takes."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import orjson

from clipmax.client import ModelMetadata
from clipmax.history import MEMBERS
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
        self._members = MEMBERS if list(self._kinds.values()) == ["history"] else ()
        self._missing = frozenset(missing)

    def names(self, present: Sequence[str], where: Path) -> list[str]:
        """Of a file's columns those to read: the model's inputs, or what its one history is made of.

        Raises:
            Refusal: the file lacks one.
        """
        if self._members and set(self._members) <= set(present):
            return list(self._members)
        for name in self._kinds:
            if name not in present:
                instead = f", or {' and '.join(self._members)}" if self._members else ""
                expected = f"one named {name!r}{instead}"
                raise Refusal(where, "columns", expected=expected, found=shorten(", ".join(present)))
        return list(self._kinds)

    def of_strings(self, cells: Mapping[str, str]) -> dict[str, object]:
        """Of a file that knows strings only; a history is JSON. What cannot be read stays a string, to be refused."""
        found = {name: self._value(kind, cells[name]) for name, kind in self._kinds.items() if name in cells}
        return found or {name: _json(cells[name]) for name in self._members}

    def of_values(self, row: object) -> object:
        """Of a file that knows types. A row without any of the inputs is left as it is, to be refused."""
        if not isinstance(row, dict):
            return row
        found = {name: self._present(kind, row[name]) for name, kind in self._kinds.items() if name in row}
        return found or {name: row[name] for name in self._members if name in row} or row

    def _value(self, kind: str, cell: str) -> object:
        if kind == "number" and _NUMBER.fullmatch(cell.strip()):
            return float(cell)
        return _json(cell) if kind == "history" else self._present(kind, cell)

    def _present(self, kind: str, value: object) -> object:
        """A missing text is an empty one, as in training; infinity, which JSON lacks, is a word, as in a CSV."""
        if isinstance(value, float) and math.isinf(value):
            return str(value)
        if isinstance(value, str) and value in self._missing:
            value = None
        return "" if value is None and kind == "text" else value


def _json(cell: str) -> object:
    try:
        found: object = orjson.loads(cell)
    except orjson.JSONDecodeError:
        return cell
    return found
