"""The binary tensor extension: frames out of bodies and into them."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmax.problems import Problem
from service.reading import binary


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_elements_survive_a_frame(elements: list[bytes]) -> None:
    """Whatever bytes they are."""
    assert binary.strings(memoryview(binary.pack(elements)), len(elements), "") == elements


@given(st.binary(max_size=60), st.integers(0, 12))
def test_any_bytes_are_elements_or_refused(frame: bytes, count: int) -> None:
    """And what was taken packs into the same bytes."""
    elements = None
    with contextlib.suppress(Problem):
        elements = binary.strings(memoryview(frame), count, "")
    assert elements is None or binary.pack(elements) == frame


@given(st.binary(max_size=30), st.integers(-5, 40))
def test_a_body_is_split_at_its_header_s_length_or_refused(body: bytes, length: int) -> None:
    """Into two parts that are the whole."""
    headers = {binary.HEADER: str(length).encode()}
    if not 0 <= length <= len(body):
        with pytest.raises(Problem, match="BINARY_FRAME"):
            binary.split(body, headers)
        return
    text, raw = binary.split(body, headers)
    assert len(text) == length
    assert text + bytes(raw) == body


def test_a_body_without_the_header_is_all_json() -> None:
    """Nothing follows it."""
    assert binary.split(b"{}", {}) == (b"{}", memoryview(b""))


def test_frames_are_given_out_in_order_and_to_the_end() -> None:
    """No more than there is, and nothing may be left."""
    frames = binary.Frames(memoryview(b"abcdef"))
    assert bytes(frames.take(2, "")) == b"ab"
    with pytest.raises(Problem, match="4 bytes follow"):
        frames.end()
    with pytest.raises(Problem, match="4 bytes are left"):
        frames.take(5, "/inputs/0")
    assert bytes(frames.take(4, "")) == b"cdef"
    frames.end()


@pytest.mark.parametrize("datatype", binary.DTYPES)
def test_numbers_lie_in_the_frame_s_own_memory(datatype: str) -> None:
    """Little-endian, without a copy; another size is refused."""
    values = np.arange(3).astype(binary.DTYPES[datatype])
    frame = memoryview(values.tobytes())
    found = binary.numbers(frame, datatype, 3, "")
    np.testing.assert_array_equal(found, values)
    assert np.shares_memory(found, np.frombuffer(frame, np.uint8))
    with pytest.raises(Problem, match="BINARY_FRAME"):
        binary.numbers(frame, datatype, 4, "")
