"""PNG and JPEG bytes: right pixels, or a problem that names why not."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from clipmax import images
from clipmax.problems import Problem


def encoded(pixels: npt.NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """The pixels as a file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind, quality=95)
    return stream.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A few bytes whose header promises many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@given(pixels=arrays.arrays(np.uint8, (5, 4)))
def test_a_gray_png_gives_its_pixels_back(pixels: npt.NDArray[np.uint8]) -> None:
    """PNG loses nothing, so neither do we."""
    np.testing.assert_array_equal(images.decode(encoded(pixels), height=5, width=4, color="gray"), pixels)


@given(pixels=arrays.arrays(np.uint8, (5, 4, 3)))
def test_a_color_png_gives_its_pixels_back(pixels: npt.NDArray[np.uint8]) -> None:
    """In the order red, green, blue."""
    np.testing.assert_array_equal(images.decode(encoded(pixels), height=5, width=4, color="rgb"), pixels)


def test_a_jpeg_is_read_too() -> None:
    """As well as JPEG can."""
    pixels = np.full((8, 8), 100, np.uint8)
    found = images.decode(encoded(pixels, "JPEG"), height=8, width=8, color="gray")
    assert np.abs(found.astype(int) - 100).max() <= 2


@given(junk=st.binary(max_size=200))
def test_any_other_bytes_are_a_problem(junk: bytes) -> None:
    """And never another exception."""
    with pytest.raises(Problem) as caught:
        images.decode(junk, height=5, width=4, color="gray", pointer="/instances/0/b64")
    assert caught.value.kind.code == "IMAGE_INVALID"
    assert caught.value.pointer == "/instances/0/b64"


@given(cut=st.integers(0, 60), flip=st.integers(0, 10_000))
def test_a_broken_png_is_a_problem_or_an_image_of_the_right_size(cut: int, flip: int) -> None:
    """Whatever the damage, what comes out fits the model or is refused."""
    data = bytearray(encoded(np.arange(20, dtype=np.uint8).reshape(5, 4)))
    data[flip % len(data)] ^= 0x55
    try:
        found = images.decode(bytes(data[: len(data) - cut]), height=5, width=4, color="gray")
    except Problem as problem:
        assert problem.kind.code in {"IMAGE_INVALID", "IMAGE_TOO_LARGE"}  # noqa: PT017  # either outcome is right
    else:
        assert found.shape == (5, 4)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(encoded(np.zeros((4, 5), np.uint8)), "IMAGE_INVALID", id="turned"),
        pytest.param(encoded(np.zeros((50, 40), np.uint8)), "IMAGE_TOO_LARGE", id="much larger"),
        pytest.param(huge_png(60_000, 60_000), "IMAGE_TOO_LARGE", id="a decompression bomb"),
        pytest.param(huge_png(10_000, 10_000), "IMAGE_TOO_LARGE", id="a bomb that Pillow only warns of"),
        pytest.param(encoded(np.zeros((5, 4), np.uint8))[:40], "IMAGE_INVALID", id="truncated"),
        pytest.param(b"GIF89a" + bytes(40), "IMAGE_INVALID", id="another format"),
    ],
)
def test_an_image_that_cannot_be_used_is_a_problem(data: bytes, code: str) -> None:
    """Refused by its header, before a pixel is decoded."""
    with pytest.raises(Problem) as caught:
        images.decode(data, height=5, width=4, color="gray")
    assert caught.value.kind.code == code


def test_a_bomb_costs_no_memory() -> None:
    """3.6 gigapixels are refused for the price of reading a header."""
    data = huge_png(60_000, 60_000)
    tracemalloc.start()
    try:
        with pytest.raises(Problem):
            images.decode(data, height=5, width=4, color="gray")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
