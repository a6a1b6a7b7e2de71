"""A file of rows → one line of answer a row, through a running service."""

from __future__ import annotations

import argparse
import base64
import dataclasses
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from clipmax import idx
from clipmax.cli import DONE, Command
from clipmax.client import Client, Instances, Prediction, checked_url
from clipmax.refusal import Refusal

_ROWS_A_REQUEST = 256
_VALUES_A_REQUEST = 200_000
"""Keeps the body of a request at a few megabytes, however wide a row is."""


def read(path: Path) -> Instances:
    """The rows of a .npy, .npz, .png, .jpg, .json or IDX file (any other name), as `Client.predict` takes them.

    Raises:
        Refusal: unreadable, or not what its name says.
        OSError: missing.
    """
    match path.suffix.lower():
        case ".npy" | ".npz":
            return _read_numpy(path)
        case ".png" | ".jpg" | ".jpeg":
            return [{"b64": base64.b64encode(path.read_bytes()).decode()}]
        case ".json":
            return _read_json(path)
        case _:
            return idx.read(path)


def select(instances: Instances, *, index: int | None, limit: int | None, where: Path) -> tuple[int, Instances]:
    """The row `index`, or the first `limit` rows, or all; with the number of the first row.

    Raises:
        Refusal: there is no such row.
    """
    if index is None:
        return 0, instances[:limit]
    if not 0 <= index < len(instances):
        raise Refusal(where, "index", expected=f"0 to {len(instances) - 1}", found=str(index))
    return index, instances[index : index + 1]


def pieces(instances: Instances) -> Iterator[Instances]:
    """The rows in portions that one request carries."""
    values = max(1, instances[0].size) if isinstance(instances, np.ndarray) and len(instances) else 1
    rows = max(1, min(_ROWS_A_REQUEST, _VALUES_A_REQUEST // values))
    for start in range(0, len(instances), rows):
        yield instances[start : start + rows]


def line(row: int, prediction: Prediction) -> str:
    """`row label probability (the next labels)`."""
    others = ", ".join(f"{top.label} {top.probability:.2%}" for top in prediction.top[1:])
    flag = "  out of range" if prediction.out_of_range else ""
    return f"{row:>6}  {prediction.label}  {prediction.probability:.2%}{f'  ({others})' if others else ''}{flag}"


def _read_numpy(path: Path) -> Instances:
    read_array = _read_npz if path.suffix.lower() == ".npz" else _read_npy
    try:
        array = read_array(path)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise Refusal(path, "array", expected="a numpy array of numbers", found=str(error)) from error
    if array.ndim < 1 or array.dtype.kind not in "iuf":
        found = f"{array.dtype}, {array.ndim} dimensions"
        raise Refusal(path, "array", expected="numbers with rows along the first axis", found=found)
    return array


def _read_npy(path: Path) -> npt.NDArray[Any]:
    """Mapped, so that `--index` and `--limit` read no more than their rows."""
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _read_npz(path: Path) -> npt.NDArray[Any]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        if len(arrays.files) != 1:
            raise Refusal(path, "arrays", expected="one", found=str(len(arrays.files)))
        array: npt.NDArray[Any] = arrays[arrays.files[0]]
        return array


def _read_json(path: Path) -> Instances:
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise Refusal(path, "document", expected="JSON", found=str(error)) from error
    instances = document.get("instances") if isinstance(document, dict) else document
    if not isinstance(instances, list):
        found = type(instances).__name__
        raise Refusal(path, "instances", expected='an array, or an object with "instances"', found=found)
    return instances


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help=".npy, .npz, .png, .jpg, .json or IDX (also gzipped)")
    parser.add_argument("--url", type=checked_url, default="http://127.0.0.1:8000", help="default: %(default)s")
    parser.add_argument("--model", help="default: the service's default model")
    parser.add_argument("--version", type=int, help="default: the newest; needs --model")
    parser.add_argument("--top-k", type=int, metavar="K", help="how many labels to show")
    parser.add_argument("--api-key-file", type=Path, metavar="KEY_FILE", help="a file with the API key on its one line")
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument("--index", type=int, metavar="ROW", help="only this row, counted from 0")
    rows.add_argument("--limit", type=_count, metavar="ROWS", help="only the first rows")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise ValueError(text)
    return count


def _run(arguments: argparse.Namespace) -> int:
    if arguments.version is not None and arguments.model is None:
        raise Refusal("--version", "--model", expected="the name of the model too", found="nothing")
    instances = read(arguments.file)
    first, instances = select(instances, index=arguments.index, limit=arguments.limit, where=arguments.file)
    with Client(arguments.url, api_key=_api_key(arguments.api_key_file)) as client:
        for row, prediction in enumerate(_predictions(client, instances, arguments), start=first):
            print(_json(row, prediction) if arguments.json else line(row, prediction))
    return DONE


def _predictions(client: Client, instances: Instances, arguments: argparse.Namespace) -> Iterator[Prediction]:
    for piece in pieces(instances):
        yield from client.predict(piece, top_k=arguments.top_k, model=arguments.model, version=arguments.version)


def _api_key(path: Path | None) -> str | None:
    return None if path is None else path.read_text(encoding="utf-8").strip()


def _json(row: int, prediction: Prediction) -> str:
    return orjson.dumps({"row": row, **dataclasses.asdict(prediction)}).decode()


COMMAND = Command(help="send the rows of a file to a service and print its answers", configure=_configure, run=_run)
