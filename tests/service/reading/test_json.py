"""Bytes → a JSON document, exactly."""

from __future__ import annotations

import json as standard
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmax.problems import Problem
from service.reading import json

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(DOCUMENTS, st.booleans())
def test_every_document_reads_as_it_was_written(document: object, escaped: bool) -> None:
    """With characters as themselves or as escapes, pairs of surrogates among them."""
    body = standard.dumps(document, ensure_ascii=escaped).encode(errors="surrogatepass")
    assert json.decode(body, max_depth=64) == document


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Nothing else is ever raised."""
    with suppress(Problem):
        json.decode(body, max_depth=8)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_the_depth_limit_is_exact(opening: bytes, closing: bytes) -> None:
    """So many levels and not one more."""
    json.decode(opening * 8 + b"1" + closing * 8, max_depth=8)
    with pytest.raises(Problem, match="DEPTH"):
        json.decode(opening * 9 + b"1" + closing * 9, max_depth=8)


def test_brackets_in_strings_and_side_by_side_are_no_depth() -> None:
    """Only what is open at the same time counts."""
    text = '[{"\\""' * 3 + "[" * 30
    assert json.decode(standard.dumps([text] * 40 + [[]] * 40).encode(), max_depth=3)


def test_a_body_of_nothing_but_brackets_is_refused_before_anything_recurses() -> None:
    """The scan ends at the first bracket too many."""
    body = b"[" * (8 * 1024 * 1024)
    with pytest.raises(Problem, match="DEPTH"):
        json.decode(body, max_depth=32)


@pytest.mark.parametrize("digits", [41, 5_000, 1_000_000])
def test_an_integer_beyond_every_type_is_an_infinity(digits: int) -> None:
    """Where it stands is found by the check of its place."""
    assert json.decode(b"[-" + b"7" * digits + b"]", max_depth=4) == [-math.inf]
    assert json.decode(b"[1e999]", max_depth=4) == [math.inf]


@pytest.mark.parametrize("body", [b'["\\ud83d\\ude00"]', b'["\\\\ud800"]', '["\U0001f600"]'.encode()])
def test_what_only_looks_like_half_a_pair_is_taken(body: bytes) -> None:
    """A whole pair, and a backslash that is itself escaped."""
    assert json.decode(body, max_depth=4)


@pytest.mark.parametrize("body", [b'["\\ud800"]', b'{"\\udfff": 1}', b'["\\ud83dx\\ude00"]', b'["\\ude00\\ud83d"]'])
def test_half_a_pair_of_surrogates_is_refused(body: bytes) -> None:
    """It is no character, wherever it stands."""
    with pytest.raises(Problem, match="ENCODING"):
        json.decode(body, max_depth=4)
