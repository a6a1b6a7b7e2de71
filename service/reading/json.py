"""Bytes → a JSON document, by the letter of RFC 8259 and with nothing read twice, guessed or repaired.

The reader that decides: whatever a faster one does not take is accepted or refused here.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from clipmax.problems import Problem

_LONGEST_INTEGER = 40
"""Digits up to which an integer is made exactly; every longer one lies outside every type we have."""

_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


LONG_BYTES = 1024 * 1024
"""Of longer bodies even plain numbers are made by a function of ours: C code that makes millions of them in one go
would keep Python's lock for that long, and every other request waiting."""


def decode(body: bytes, *, max_depth: int) -> Any:
    """The document of a body.

    Numbers that no float64 holds become infinities here, so that the check of their place gives the pointer.

    Raises:
        Problem: ENCODING, DEPTH, JSON_INVALID or DUPLICATE_KEY.
    """
    text = _text(body)
    check_depth(body, max_depth)
    try:
        document = (_DECODER if len(body) <= LONG_BYTES else _PATIENT_DECODER).decode(text)
    except json.JSONDecodeError as error:
        raise _invalid(error) from None
    if _SURROGATE_ESCAPE.search(body):
        _check_surrogates(document)
    return document


def _text(body: bytes) -> str:
    if body.startswith(_BOMS):
        raise Problem("ENCODING", "send UTF-8 without a byte order mark")
    if b"\0" in body[:4]:
        raise Problem("ENCODING", "send UTF-8, not UTF-16 or UTF-32")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem("ENCODING", f"byte {error.start} is not valid UTF-8") from None


def check_depth(body: bytes, limit: int) -> None:
    """Refuse deep nesting before anything recurses, looking no further than the first bracket too many."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    depth = 0
    for token in _BRACKETS.finditer(body):
        first = body[token.start()]
        if first in b"[{":
            depth += 1
            if depth > limit:
                raise Problem("DEPTH", f"the limit is {limit} levels")
        elif first in b"]}":
            depth -= 1


def _check_surrogates(document: Any) -> None:
    """Half of a surrogate pair may be written as an escape but is no character."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Problem("ENCODING", "a string holds half of a surrogate pair") from None


def _invalid(error: json.JSONDecodeError) -> Problem:
    if not error.doc.strip():
        return Problem("JSON_INVALID", "the body is empty")
    if error.msg == "Extra data":
        return Problem("JSON_INVALID", f"character {error.pos} follows the end of the document")
    return Problem("JSON_INVALID", f"not JSON at line {error.lineno}, column {error.colno}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Problem("DUPLICATE_KEY", f"an object repeats {len(pairs) - len(members)} of its keys")
    return members


def _integer(digits: str) -> int | float:
    """Python refuses integers of more than 4,300 digits and takes quadratic time before that."""
    if len(digits) <= _LONGEST_INTEGER:
        return int(digits)
    return -math.inf if digits.startswith("-") else math.inf


def _constant(_name: str) -> float:
    raise Problem("JSON_INVALID", "NaN and Infinity are not JSON")


def _number(digits: str) -> float:
    return float(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)
_PATIENT_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
