"""An IDX file (MNIST's format), plain or gzipped → one numpy array of bytes.

IDX: two zero bytes, a type code, the rank, then one big-endian uint32 a dimension, then the values row by row.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from clipmax.refusal import Refusal

UINT8 = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_MAX_EXPANSION = 1032
"""Deflate cannot expand one byte to more, so a header that promises more is refused before anything is read."""
_MAX_RANK = 64
"""numpy's own limit."""
_PIECE_BYTES = 1 << 20


def read(path: Path) -> npt.NDArray[np.uint8]:
    """Read a whole IDX file of unsigned bytes.

    Memory follows what the file really holds, never what its header promises.

    Returns:
        uint8 of any rank ≥ 1: [N] for labels, [N, height, width] for images; writable and owned by the caller.

    Raises:
        Refusal: unreadable, broken gzip, another magic number or type, too few or too many bytes.
    """
    try:
        with path.open("rb") as file:
            stored = path.stat().st_size
            if file.peek(2)[:2] != _GZIP_MAGIC:
                return _parse(file, path, at_most=stored)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _parse(cast("BinaryIO", unpacked), path, at_most=stored * _GZIP_MAX_EXPANSION)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Refusal(path, "gzip", expected="an intact gzip file", found=str(error)) from error
    except OSError as error:
        raise Refusal(path, "file", expected="a readable file", found=error.strerror or "an error") from error


def _parse(file: BinaryIO, path: Path, *, at_most: int) -> npt.NDArray[np.uint8]:
    shape = _shape(file, path)
    expected = math.prod(shape)
    if expected > at_most:
        raise Refusal(path, "values", expected=f"{expected} by the header {shape}", found=f"at most {at_most}")
    values = _read_at_most(file, expected + 1)
    if len(values) != expected:
        found = str(len(values)) if len(values) < expected else f"more than {expected}"
        raise Refusal(path, "values", expected=f"{expected} by the header {shape}", found=found)
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _shape(file: BinaryIO, path: Path) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) != 4 or magic[:2] != b"\0\0" or magic[3] < 1:
        raise Refusal(path, "magic", expected="two zero bytes, a type and a rank", found=f"0x{magic.hex()}")
    if magic[2] != UINT8:
        raise Refusal(path, "type", expected=f"0x{UINT8:02x} (unsigned byte)", found=f"0x{magic[2]:02x}")
    rank = magic[3]
    if rank > _MAX_RANK:
        raise Refusal(path, "rank", expected=f"1 to {_MAX_RANK}", found=str(rank))
    dimensions = file.read(4 * rank)
    if len(dimensions) != 4 * rank:
        raise Refusal(path, "dimensions", expected=f"{4 * rank} bytes for rank {rank}", found=f"{len(dimensions)}")
    shape = struct.unpack(f">{rank}I", dimensions)
    if 0 in shape:
        raise Refusal(path, "dimensions", expected="each at least 1", found=str(shape))
    return shape


def _read_at_most(file: BinaryIO, count: int) -> bytearray:
    """Piece by piece, because one `read(count)` would allocate `count` bytes at once."""
    values = bytearray()
    while piece := file.read(min(_PIECE_BYTES, count - len(values))):
        values += piece
    return values
