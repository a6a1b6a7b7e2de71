"""Columns and arrays → the raw tensors of an Open Inference Protocol request, and an answer's tensors → arrays.

A request is its JSON part, whose length a header states, and behind it one frame an input, little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import orjson

from clipmax.client.cutting import Body
from clipmax.client.errors import ClientError, answer_invalid
from clipmax.client.inference import Inference
from clipmax.client.metadata import ModelMetadata
from clipmax.client.rows import encoded

Column = npt.NDArray[Any] | Sequence[object]

HEADER = "Inference-Header-Content-Length"
OCTETS = "application/octet-stream"

_FAMILIES = {"f": "FP", "i": "INT", "u": "UINT"}
_OUTPUTS = ("probabilities", "logits", "out_of_range")
_DTYPES: Mapping[str, str] = {"FP32": "<f4", "BOOL": "|b1"}


@dataclass(frozen=True, slots=True)
class _Frame:
    datatype: str
    shape: tuple[int, ...]
    content: bytes


class Columns:
    """The inputs by name, that can be counted, and sliced into requests.

    Args:
        given: columns by name, a data frame, or the one array or list of a model with one input.
        metadata: of the model.
        logits: whether the answers have them.

    Raises:
        ValueError: several inputs and no names, or columns of different lengths.
        ClientError: a model with so many labels that there are no arrays with all of them.
    """

    def __init__(self, given: Any, metadata: ModelMetadata, *, logits: bool) -> None:
        if not metadata.has_all_labels:
            raise ClientError(f"{metadata.name} gives the likeliest of its {metadata.labels_count} labels; use predict")
        self._columns = _named(given, metadata)
        self._logits = logits
        if len({len(column) for column in self._columns.values()}) != 1:
            raise ValueError("columns of one length are needed")

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def encode(self, start: int, stop: int) -> Body:
        """The request for some of the rows.

        Raises:
            TypeError: a column that is neither numbers, words nor images.
        """
        return _encode({name: column[start:stop] for name, column in self._columns.items()}, logits=self._logits)


def read(response: httpx.Response, metadata: ModelMetadata, *, rows: int) -> Inference:
    """The arrays of an answer. Raises AnswerInvalid for one that is none of ours, or not to so many rows."""
    try:
        length = int(response.headers[HEADER])
        document = orjson.loads(response.content[:length])
        arrays = _arrays(document["outputs"], memoryview(response.content)[length:], rows)
        return Inference(
            model=document["model_name"],
            version=int(document["model_version"]),
            provider=document["parameters"]["provider"],
            labels=metadata.labels,
            probabilities=arrays["probabilities"],
            logits=arrays.get("logits"),
            out_of_range=arrays["out_of_range"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise answer_invalid(response) from error


def _named(given: Any, metadata: ModelMetadata) -> dict[str, Column]:
    if isinstance(given, Mapping):
        return dict(given)
    if hasattr(given, "columns"):
        return {name: given[name].to_numpy() for name in given.columns}
    if len(metadata.inputs) == 1:
        return {metadata.inputs[0].name: given}
    raise ValueError(f"the model has {len(metadata.inputs)} inputs: give an object of columns or a data frame")


def _encode(columns: Mapping[str, Column], *, logits: bool) -> Body:
    frames = {name: _frame(column) for name, column in columns.items()}
    outputs = [name for name in _OUTPUTS if logits or name != "logits"]
    document = {
        "inputs": [
            {
                "name": name,
                "shape": frame.shape,
                "datatype": frame.datatype,
                "parameters": {"binary_data_size": len(frame.content)},
            }
            for name, frame in frames.items()
        ],
        "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
    }
    head = orjson.dumps(document)
    content = b"".join([head, *(frame.content for frame in frames.values())])
    return Body(content, {"Content-Type": OCTETS, HEADER: str(len(head))})


def _frame(column: Column) -> _Frame:
    array = column if isinstance(column, np.ndarray) else _array(column)
    if array.dtype.kind in _FAMILIES and array.dtype.itemsize <= 8:
        datatype = f"{_FAMILIES[array.dtype.kind]}{8 * array.dtype.itemsize}"
        return _Frame(datatype, array.shape, array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    elements = array.reshape(-1).tolist() if array.dtype.kind in "UOST" else [None]
    return _Frame("BYTES", array.shape, b"".join(_packed(elements)))


def _array(column: Sequence[object]) -> npt.NDArray[Any]:
    """A list as an array; words, files and images as objects."""
    if column and isinstance(column[0], int | float | list | np.ndarray) and not isinstance(column[0], bool):
        return np.asarray(column)
    objects = np.empty(len(column), dtype=object)
    objects[:] = column
    return objects


def _packed(elements: Iterable[object]) -> Iterable[bytes]:
    """Each behind its length in four bytes."""
    for value in elements:
        content = value.encode() if isinstance(value, str) else encoded(value)
        if content is None:
            raise TypeError(f"a frame carries numbers, words or images, not a {type(value).__name__}; use predict")
        yield struct.pack("<I", len(content))
        yield content


def _arrays(outputs: Sequence[Mapping[str, Any]], raw: memoryview, rows: int) -> dict[str, npt.NDArray[Any]]:
    found, start = {}, 0
    for one in outputs:
        stop = start + one["parameters"]["binary_data_size"]
        values = np.frombuffer(raw[start:stop], _DTYPES[one["datatype"]])
        found[one["name"]] = values.reshape(rows, *one["shape"][1:])
        start = stop
    return found
