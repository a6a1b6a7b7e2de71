"""Arrays → the tensors of an Open Inference Protocol answer, as JSON or raw behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from clipmax.novelty import OUTPUT as NOVELTY
from service.engine.session import Outputs, Session
from service.reading import binary
from service.reading.v2 import LABEL, OUT_OF_RANGE, Wanted

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Body:
    """An answer's bytes; `json_bytes` is the length of the JSON part where raw tensors follow it, else None."""

    content: bytes
    json_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Tensor:
    datatype: str
    values: Floats | Flags | list[str]
    shape: tuple[int, ...]


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
    answer = {
        "model_name": manifest.name,
        "model_version": str(manifest.version),
        "id": request_id,
        "parameters": {"provider": session.provider},
        "outputs": entries,
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _tensor(wanted: Wanted, labels: Sequence[str], outputs: Outputs, out_of_range: Flags) -> _Tensor:
    rows = len(out_of_range)
    if wanted.name == LABEL:
        best = outputs.probabilities.argmax(axis=1)
        return _Tensor("BYTES", [labels[index] for index in best.tolist()], (rows,))
    if wanted.name == OUT_OF_RANGE:
        return _Tensor("BOOL", out_of_range, (rows,))
    values = outputs.logits if wanted.name == "logits" else outputs.probabilities
    if wanted.name == NOVELTY and outputs.novelty is not None:
        values = outputs.novelty
    if wanted.classes is not None:
        count = min(wanted.classes, len(labels))
        return _Tensor("BYTES", _classes(values, labels, count), (rows, count))
    return _Tensor("FP32", np.ascontiguousarray(values).reshape(-1), values.shape)


def _classes(values: Floats, labels: Sequence[str], count: int) -> list[str]:
    """The classification extension: "value:index:label" of the largest, largest first, row after row.

    The value has the digits that read back as the same float32, without an exponent.
    """
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
