"""Arrays → the tensors of an Open Inference Protocol answer, as JSON or raw behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from clipmax.manifest import FULL_OUTPUTS, Manifest
from clipmax.problems import Problem
from service.answer import too_many_values
from service.engine.session import Session
from service.outputs import Outputs, Top
from service.reading import binary
from service.reading.v2 import LABEL, OUT_OF_RANGE, Wanted

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Body:
    """An answer's bytes; `json_bytes` is the length of the JSON part where raw tensors follow it, else None."""

    content: bytes
    json_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Tensor:
    datatype: str
    values: Floats | Indices | Flags | list[str]
    shape: tuple[int, ...]


def check(manifest: Manifest, wanted: Sequence[Wanted], *, rows: int, most_values: int) -> None:
    """Refuse what would be too long to say of every class.

    Raises:
        Problem: PARAMETER.
    """
    is_whole = any(one.name in FULL_OUTPUTS and one.classes is None for one in wanted)
    if is_whole and rows * manifest.classes > most_values:
        raise Problem("PARAMETER", too_many_values(rows, manifest.classes, most_values), pointer="/outputs")


def encode(session: Session, outputs: Outputs, out_of_range: Flags, wanted: Sequence[Wanted], request_id: str) -> Body:
    """The answer with the wanted outputs in their order.

    Numbers are the float32 that onnxruntime gave: bit by bit in a frame, in JSON with the digits that read back as it.
    They must be finite; see `answer.Results.check`.
    """
    entries, frames = [], []
    for one in wanted:
        tensor = _tensor(one, session.manifest.labels, outputs, out_of_range)
        entry: dict[str, Any] = {"name": one.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if one.binary:
            frames.append(_frame(tensor))
            entry["parameters"] = {"binary_data_size": len(frames[-1])}
        else:
            entry["data"] = tensor.values
        entries.append(entry)
    document = _document(session, entries, request_id)
    return Body(binary.join(document, frames), len(document) if frames else None)


def _document(session: Session, entries: list[dict[str, Any]], request_id: str) -> bytes:
    manifest = session.manifest
    approximate = {"approximate": True} if manifest.is_approximate else {}
    answer = {
        "model_name": manifest.name,
        "model_version": str(manifest.version),
        "id": request_id,
        "parameters": {"provider": session.provider, **approximate},
        "outputs": entries,
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _tensor(wanted: Wanted, labels: Sequence[str], outputs: Outputs, out_of_range: Flags) -> _Tensor:
    rows = len(out_of_range)
    if wanted.name == LABEL:
        return _Tensor("BYTES", [labels[index] for index in outputs.best.tolist()], (rows,))
    if wanted.name == OUT_OF_RANGE:
        return _Tensor("BOOL", out_of_range, (rows,))
    values = getattr(outputs, wanted.name)  # one of the manifest's outputs, as `Wanted` was checked to be
    if wanted.classes is not None:
        count = min(wanted.classes, values.shape[1])
        return _Tensor("BYTES", _classes(values, outputs, labels, count), (rows, count))
    datatype = "INT64" if values.dtype == np.int64 else "FP32"
    return _Tensor(datatype, np.ascontiguousarray(values).reshape(-1), values.shape)


def _classes(values: Floats, outputs: Outputs, labels: Sequence[str], count: int) -> list[str]:
    """The classification extension: "value:index:label" of the largest, largest first, row after row.

    The value has the digits that read back as the same float32, without an exponent.
    """
    if isinstance(outputs, Top):
        order, best = outputs.top_indices[:, :count], values[:, :count]
    else:
        order = np.argsort(-values, axis=1, kind="stable")[:, :count]
        best = np.take_along_axis(values, order, axis=1)
    return [
        f"{np.format_float_positional(value, trim='0')}:{index}:{labels[index]}"
        for value, index in zip(best.reshape(-1), order.reshape(-1).tolist(), strict=True)
    ]


def _frame(tensor: _Tensor) -> bytes:
    if isinstance(tensor.values, list):
        return binary.pack(text.encode() for text in tensor.values)
    return tensor.values.tobytes()
