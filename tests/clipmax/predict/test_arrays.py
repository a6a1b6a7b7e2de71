"""NumPy, IDX and JSON files become rows, and rows become portions."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from clipmax.predict.arrays import batches, read
from clipmax.refusal import Refusal

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)


def save(folder: Path, name: str, pixels: npt.NDArray[Any] = PIXELS) -> Path:
    """The pixels in the format that the name says."""
    path = folder / name
    match path.suffix:
        case ".npy":
            np.save(path, pixels)
        case ".npz":
            np.savez_compressed(path, digits=pixels)
        case ".json":
            path.write_text(json.dumps({"instances": pixels.tolist()} if name == "body.json" else pixels.tolist()))
        case ".gz":
            path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, *pixels.shape) + pixels.tobytes()))
        case _:
            path.write_bytes(struct.pack(">4I", 0x803, *pixels.shape) + pixels.tobytes())
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.NPY", "a.npz", "a.json", "body.json", "idx3-ubyte.gz", "idx3-ubyte"])
def test_every_kind_of_file_gives_its_rows(name: str, tmp_path: Path) -> None:
    """The same, whatever the format."""
    rows = read(save(tmp_path, name.lower()).rename(tmp_path / name))
    np.testing.assert_array_equal(np.asarray(rows), PIXELS)


BAD_FILES: dict[str, bytes] = {
    "empty.npy": b"",
    "junk.npy": b"junk",
    "junk.npz": b"PK\x03\x04junk",
    "junk.json": b"{",
    "number.json": b"1",
    "object.json": b'{"rows": []}',
    "junk.txt": b"hello",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_not_what_its_name_says_is_refused(name: str, tmp_path: Path) -> None:
    """With its path."""
    path = tmp_path / name
    path.write_bytes(BAD_FILES[name])
    with pytest.raises(Refusal) as caught:
        read(path)
    assert caught.value.where == str(path)


def test_arrays_that_are_no_rows_of_numbers_are_refused(tmp_path: Path) -> None:
    """Objects above all: numpy would unpickle them."""
    for name, array in {
        "objects": np.array([{}], dtype=object),
        "words": np.array(["a"]),
        "scalar": np.array(1.0),
    }.items():
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(Refusal, match=r"array: expected"):
            read(tmp_path / f"{name}.npy")
    np.savez(tmp_path / "two.npz", a=PIXELS, b=PIXELS)
    with pytest.raises(Refusal, match="arrays: expected one, found 2"):
        read(tmp_path / "two.npz")


@pytest.mark.parametrize(
    ("shape", "largest"), [((1000, 2), 256), ((1000, 28, 28), 255), ((3, 500_000), 1), ((0, 2), 0)]
)
def test_a_request_carries_a_bounded_number_of_values(shape: tuple[int, ...], largest: int) -> None:
    """And the pieces together are the whole."""
    array = np.zeros(shape, np.uint8)
    found = [len(batch.rows) for batch in batches(array)]
    assert max(found, default=0) == largest
    assert sum(found) == len(array)


def test_rows_with_infinity_are_bad_ones() -> None:
    """JSON cannot carry it; the others keep their numbers."""
    (batch,) = batches(np.array([[0.0, 1.0], [np.inf, 1.0], [np.nan, 2.0]]))
    assert batch.numbers == [0, 2]
    assert len(batch.rows) == 2
    assert [row.number for row in batch.bad] == [1]
