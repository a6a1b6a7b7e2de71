"""The labels of a model: what is wrong with them, and the file in which very many of them lie.

A million labels take one pass over their whole text for each check, so that they load in about a second.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from clipmax import files
from clipmax.files import FileRecord
from clipmax.refusal import Refusal

FILE = "labels.txt"
"""One label a line, in class order, UTF-8, each line ended by a line feed."""

INLINE = 10_000
"""Up to so many labels stand in the manifest itself."""

MAX_CODE_POINTS = 256
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def fault(labels: Sequence[str]) -> str | None:
    """What is wrong with a list of labels, or None: unique after NFC, no control characters, bounded length."""
    if not all(labels) or max(map(len, labels), default=0) > MAX_CODE_POINTS:
        index = next(place for place, label in enumerate(labels) if not 0 < len(label) <= MAX_CODE_POINTS)
        return f"labels of 1 to {MAX_CODE_POINTS} code points; label {index} has {len(labels[index])}"
    if _CONTROL.search("".join(labels)):
        index = next(place for place, label in enumerate(labels) if _CONTROL.search(label))
        return f"labels without control characters; label {index} has one"
    normalized = _normalized(labels)
    repeats = len(normalized) - len(set(normalized))
    if repeats:
        first, again = _first_repeat(normalized)
        found = f"{repeats} repeat another, the first is label {again}, like label {first}"
        return f"labels that differ after Unicode NFC; {found}"
    return None


def encode(labels: Sequence[str]) -> bytes:
    """The content of the file; the labels must be without fault."""
    return "".join([f"{label}\n" for label in labels]).encode()


def read(path: Path, record: FileRecord, *, count: int) -> tuple[str, ...]:
    """All labels of the file, in class order.

    Args:
        path: of the file.
        record: what the manifest says of it.
        count: how many there must be.

    Raises:
        Refusal: another size or hash, no UTF-8, another number of labels, or a fault in one.
    """
    content = files.read(path, record)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise Refusal(path, "text", expected="UTF-8", found=f"another byte at {error.start}") from error
    if not text.endswith("\n"):
        raise Refusal(path, "text", expected="a line feed at the end of each line", found="none at the last")
    labels = tuple(text[:-1].split("\n"))
    if len(labels) != count:
        raise Refusal(path, "labels", expected=f"{count:,} lines, as the seal says", found=f"{len(labels):,}")
    if found := fault(labels):
        raise Refusal(path, "labels", expected=found.partition("; ")[0], found=found.partition("; ")[2])
    return labels


def _normalized(labels: Sequence[str]) -> Sequence[str]:
    """All at once: a line feed composes with nothing."""
    text = "\n".join(labels)
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        return labels
    return unicodedata.normalize("NFC", text).split("\n")


def _first_repeat(labels: Sequence[str]) -> tuple[int, int]:
    seen: dict[str, int] = {}
    for index, label in enumerate(labels):
        first = seen.setdefault(label, index)
        if first != index:
            return first, index
    raise ValueError("no label repeats another")
