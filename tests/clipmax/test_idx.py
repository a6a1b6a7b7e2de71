"""IDX files: what is read is what was written, and a file that lies about itself is refused."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clipmax import idx
from clipmax.refusal import Refusal

SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=6)


def encoded(values: npt.NDArray[np.uint8], *, kind: int = idx.UINT8) -> bytes:
    """The bytes of an IDX file."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape) + values.tobytes()


@given(values=arrays.arrays(np.uint8, SHAPES), zipped=st.booleans())
def test_what_was_written_is_read(
    values: npt.NDArray[np.uint8], zipped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Shape, type and values survive, plain and gzipped, and the array may be written to."""
    path = tmp_path_factory.mktemp("idx") / "values"
    path.write_bytes(gzip.compress(encoded(values)) if zipped else encoded(values))
    found = idx.read(path)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    np.testing.assert_array_equal(found, values)


@given(junk=st.binary(max_size=64))
def test_any_bytes_give_an_array_or_a_refusal(junk: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No file makes the reader fail in another way."""
    path = tmp_path_factory.mktemp("idx") / "junk"
    path.write_bytes(junk)
    try:
        assert idx.read(path).nbytes <= len(junk)
    except Refusal as refusal:
        assert refusal.where == str(path)  # noqa: PT017  # either outcome is right


GOOD = encoded(np.arange(12, dtype=np.uint8).reshape(3, 4))


@pytest.mark.parametrize(
    ("content", "field", "found"),
    [
        pytest.param(b"", "magic", "0x", id="empty"),
        pytest.param(b"\0\0\x08", "magic", "0x000008", id="half a magic number"),
        pytest.param(b"\x01" + GOOD[1:], "magic", "0x01000802", id="another magic number"),
        pytest.param(b"\0\0\x08\0", "magic", "0x00000800", id="rank 0"),
        pytest.param(b"\0\0\x08\xff" + b"\0\0\0\x01" * 255, "rank", "255", id="rank above numpy's"),
        pytest.param(b"\0\0\x0d" + GOOD[3:], "type", "0x0d", id="floats"),
        pytest.param(GOOD[:10], "dimensions", "6", id="half the dimensions"),
        pytest.param(encoded(np.zeros((0, 4), np.uint8)), "dimensions", "(0, 4)", id="no rows"),
        pytest.param(GOOD[:-1], "values", "11", id="one byte short"),
        pytest.param(GOOD + b"\0", "values", "more than 12", id="one byte long"),
        pytest.param(struct.pack(">I4I", 0x804, *[2**32 - 1] * 4), "values", "at most 20", id="2^128 promised"),
        pytest.param(gzip.compress(GOOD)[:-4], "gzip", "", id="truncated gzip"),
        pytest.param(gzip.compress(GOOD)[:-8] + bytes(8), "gzip", "", id="gzip of another checksum"),
        pytest.param(b"\x1f\x8b" + bytes(20), "gzip", "", id="gzip in name only"),
    ],
)
def test_a_file_that_lies_is_refused(content: bytes, field: str, found: str, tmp_path: Path) -> None:
    """The refusal names file, field, what was expected and what was found."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(Refusal) as caught:
        idx.read(path)
    assert (caught.value.where, caught.value.field) == (str(path), field)
    assert found in caught.value.found


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """With its path, as every other fault."""
    with pytest.raises(Refusal, match="readable file"):
        idx.read(tmp_path / "none")


def test_memory_follows_the_file_and_not_its_header(tmp_path: Path) -> None:
    """A gzip that could just hold a gigabyte, says its header, costs no gigabyte."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(struct.pack(">II", 0x801, 10**9) + np.random.default_rng(0).bytes(1 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(Refusal, match="by the header"):
            idx.read(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
