"""Requests hold all rows in their order and never more than the service takes."""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clipmax.client.cutting import FIRST_ROWS, SMALL_BYTES, SMALL_ROWS, Body, Limits, pieces, small

Sizes = st.lists(st.integers(1, 500), max_size=600)


@given(sizes=Sizes, rows=st.integers(1, 400), body_bytes=st.integers(1, 20_000))
def test_pieces_are_the_whole_within_the_limits(sizes: list[int], rows: int, body_bytes: int) -> None:
    """But for a row that is too large by itself."""
    row_bytes = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    found = list(pieces(len(sizes), Limits(rows, body_bytes), lambda a, b: Body(b"[" + b"".join(row_bytes[a:b]), {})))
    assert b"".join(piece.body.content[1:] for piece in found) == b"".join(row_bytes)
    bounds = [*(piece.first_row for piece in found), len(sizes)]
    for piece, start, stop in zip(found, bounds[:-1], bounds[1:], strict=True):
        assert stop - start <= rows
        assert len(piece.body.content) <= body_bytes or stop - start == 1


def test_no_rows_are_one_request() -> None:
    """So that the service says what it thinks of that."""
    (piece,) = pieces(0, Limits(), lambda a, b: Body(b"[]", {}))
    assert piece.first_row == 0


def test_without_limits_the_second_request_takes_the_rest() -> None:
    """Another service than ours states none."""
    found = list(pieces(10_000, Limits(), lambda a, b: Body(b"x" * (b - a), {})))
    assert [piece.first_row for piece in found] == [0, FIRST_ROWS]


def test_only_a_small_call_goes_without_asking() -> None:
    """In rows and in bytes."""
    assert small(SMALL_ROWS, lambda a, b: Body(b"x", {})) is not None
    assert small(SMALL_ROWS + 1, lambda a, b: Body(b"x", {})) is None
    assert small(1, lambda a, b: Body(b"x" * (SMALL_BYTES + 1), {})) is None


def test_limits_are_read_where_they_are_stated() -> None:
    """Else there are none."""
    assert Limits.of({"parameters": {"limits": {"max_batch_rows": 2, "max_body_bytes": 3}}}) == Limits(2, 3)
    documents: list[Any] = [{}, [], {"parameters": 1}, {"parameters": {"limits": None}}]
    for document in documents:
        assert Limits.of(document) == Limits(sys.maxsize, sys.maxsize)
