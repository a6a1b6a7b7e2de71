"""NumPy, IDX and JSON files → batches of rows; their rows are read as one array or list."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from clipmax import idx
from clipmax.client.rows import Instances
from clipmax.predict.batch import ROWS, BadRow, Batch
from clipmax.refusal import Refusal

_VALUES = 200_000
"""Of one batch, however wide a row is."""


def read(path: Path) -> Instances:
    """The rows of a .npy, .npz, .json or IDX file (any other name), as `Client.predict` takes them.

    Raises:
        Refusal: unreadable, or not what its name says.
        OSError: missing.
    """
    return READERS.get(path.suffix.lower(), idx.read)(path)


def batches(instances: Instances) -> Iterator[Batch]:
    """The rows in portions that one request carries."""
    values = math.prod(instances.shape[1:]) if isinstance(instances, np.ndarray) else 1
    rows = max(1, min(ROWS, _VALUES // max(1, values)))
    for start in range(0, len(instances), rows):
        part = instances[start : start + rows]
        numbers = list(range(start, start + len(part)))
        infinite = _infinite(part)
        if infinite.any():
            bad = [BadRow(number, "it holds an infinite number") for number in np.array(numbers)[infinite].tolist()]
            yield Batch(np.array(numbers)[~infinite].tolist(), np.asarray(part)[~infinite], bad=bad)
        else:
            yield Batch(numbers, part, done=start / len(instances))


def _infinite(rows: Instances) -> npt.NDArray[np.bool_]:
    """Rows with a number that JSON cannot carry: bool [N]."""
    if not isinstance(rows, np.ndarray) or rows.dtype.kind != "f":
        return np.zeros(len(rows), dtype=np.bool_)
    return np.asarray(np.isinf(rows.reshape(len(rows), -1)).any(axis=1))


def _npy(path: Path) -> npt.NDArray[Any]:
    """Mapped, so that `--index` and `--limit` read no more than their rows."""
    return _numbers(path, lambda: np.load(path, mmap_mode="r", allow_pickle=False))


def _npz(path: Path) -> npt.NDArray[Any]:
    return _numbers(path, lambda: _only_array(path))


def _only_array(path: Path) -> npt.NDArray[Any]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        if len(arrays.files) != 1:
            raise Refusal(path, "arrays", expected="one", found=str(len(arrays.files)))
        array: npt.NDArray[Any] = arrays[arrays.files[0]]
        return array


def _numbers(path: Path, load: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    try:
        array = load()
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise Refusal(path, "array", expected="a numpy array of numbers", found=str(error)) from error
    if array.ndim < 1 or array.dtype.kind not in "iuf":
        found = f"{array.dtype}, {array.ndim} dimensions"
        raise Refusal(path, "array", expected="numbers with rows along the first axis", found=found)
    return array


def _json(path: Path) -> Instances:
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise Refusal(path, "document", expected="JSON", found=str(error)) from error
    instances = document.get("instances") if isinstance(document, dict) else document
    if not isinstance(instances, list):
        found = type(instances).__name__
        raise Refusal(path, "instances", expected='an array, or an object with "instances"', found=found)
    return instances


READERS: Mapping[str, Callable[[Path], Instances]] = MappingProxyType({".npy": _npy, ".npz": _npz, ".json": _json})
"""Suffix → reader; a file of any other name is taken for IDX."""
