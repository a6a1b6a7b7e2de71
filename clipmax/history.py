"""What customers bought and when, as clients send it → the pairs of numbers that the graph takes.

A history is an object of two lists of the same length, in any order, both perhaps empty:

    {"items": ["85123A", "71053"], "days_ago": [3, 40.5]}

Days are counted back from the moment of asking, so that an answer depends on the request alone and on no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clipmax.problems import Problem

PADDING_CODE, UNKNOWN_CODE, FIRST_ITEM_CODE = 0, 1, 2
LEAST_LENGTH = 10
"""Places that a short history is padded to: its row costs the graph as much, and runs are bounded by places."""

MEMBERS = ("items", "days_ago")
_FLOAT32_MAX = float(np.finfo(np.float32).max)

Pairs = npt.NDArray[np.float32]


class History(NamedTuple):
    """Items bought, each once a basket, and how many days ago."""

    items: Sequence[str]
    days_ago: Sequence[float]


def read(value: object, pointer: str, *, max_length: int) -> History:
    """One JSON value, checked.

    Raises:
        Problem: TYPE, FIELD_MISSING, UNKNOWN_FIELD, INPUT_SHAPE (too long, or lists of two lengths) or NUMBER_RANGE,
            with the pointer to its place.
    """
    if not isinstance(value, dict):
        detail = f"a history must be an object of {' and '.join(MEMBERS)}"
        raise Problem("TYPE", detail, pointer=pointer)
    _check_members(value, pointer)
    items, days = (_list(value[member], f"{pointer}/{member}") for member in MEMBERS)
    if len(items) > max_length:
        detail = f"the history has {len(items)} items, the model takes at most {max_length}"
        raise Problem("INPUT_SHAPE", detail, pointer=f"{pointer}/items")
    if len(days) != len(items):
        detail = f"each item needs its days_ago: there are {len(items)} items and {len(days)} days_ago"
        raise Problem("INPUT_SHAPE", detail, pointer=f"{pointer}/days_ago")
    _check_items(items, f"{pointer}/items")
    _check_days(days, f"{pointer}/days_ago")
    return History(items, days)


def pairs(histories: Sequence[History], codes: Mapping[str, int]) -> Pairs:
    """Histories → float32 [N, L, 2]: of each purchase the item's code and the days since.

    L is the longest history, at least ten. The code is 0 for padding, whose days are 0 too, 1 for an item not in
    `codes`, else from 2 on; float32 holds whole numbers up to 16,777,216 exactly.
    """
    width = max(LEAST_LENGTH, *(len(one.items) for one in histories))
    found = np.zeros((len(histories), width, 2), dtype=np.float32)
    for row, one in enumerate(histories):
        length = len(one.items)
        found[row, :length, 0] = [codes.get(item, UNKNOWN_CODE) for item in one.items]
        found[row, :length, 1] = one.days_ago
    return found


def counts(tensor: Pairs) -> npt.NDArray[np.int64]:
    """How many purchases of each row are of items that the model knows, and of others: int64 [N, 2]."""
    codes = tensor[:, :, 0]
    return np.stack([(codes >= FIRST_ITEM_CODE).sum(axis=1), (codes == UNKNOWN_CODE).sum(axis=1)], axis=1)


def _check_members(value: Mapping[str, Any], pointer: str) -> None:
    for member in MEMBERS:
        if member not in value:
            raise Problem("FIELD_MISSING", f'a history needs the member "{member}"', pointer=f"{pointer}/{member}")
    if unknown := len(value) - len(MEMBERS):
        raise Problem("UNKNOWN_FIELD", f"{unknown} unknown; known are {', '.join(MEMBERS)}", pointer=pointer)


def _list(value: object, pointer: str) -> list[Any]:
    if not isinstance(value, list):
        raise Problem("TYPE", "an array is needed here", pointer=pointer)
    return value


def _check_items(items: Sequence[object], pointer: str) -> None:
    for place, item in enumerate(items):
        if type(item) is not str:
            raise Problem("TYPE", "an item is a string", pointer=f"{pointer}/{place}")


def _check_days(days: Sequence[Any], pointer: str) -> None:
    for place, number in enumerate(days):
        if type(number) is not int and type(number) is not float:
            raise Problem("TYPE", "days_ago are numbers, none missing", pointer=f"{pointer}/{place}")
        if not -_FLOAT32_MAX <= number <= _FLOAT32_MAX:
            raise Problem("NUMBER_RANGE", "the number does not fit float32", pointer=f"{pointer}/{place}")
