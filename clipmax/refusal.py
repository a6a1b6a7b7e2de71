"""What is refused offline: a file, a field, what was expected there and what was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

_SHOWN_CHARACTERS = 80


class Refusal(Exception):
    """An artifact, data file, configuration or setting that will not be used, with the reason in four parts.

    The command line prints it as one line on stderr and exits with 1; the service records it as the
    reason why a version is refused. Every check in the project that is not about an HTTP request raises it.
    """

    def __init__(self, where: str | Path, field: str, *, expected: str, found: str) -> None:
        self.where = str(where)
        self.field = field
        self.expected = expected
        self.found = found
        super().__init__(f"{self.where}: {field}: expected {expected}, found {found}")

    @classmethod
    def from_validation(cls, where: str | Path, error: ValidationError) -> Refusal:
        """The first of pydantic's findings in our four parts, with the dotted path as the field."""
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        if first["type"] == "extra_forbidden":
            return cls(where, field, expected="a known key", found="an unknown one")
        if first["type"] == "missing":
            return cls(where, field, expected="a value", found="nothing")
        expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        return cls(where, field, expected=expected, found=shorten(first["input"]))


def shorten(value: object) -> str:
    """`repr(value)` cut to one readable piece of a message."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
