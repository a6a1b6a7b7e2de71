"""Arrays → the predictions of one answer, as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from clipmax.problems import Problem
from service.engine.session import Outputs, Session

DEFAULT_TOP_K = 3

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller wants in each prediction; `top_k` above the number of labels means all of them."""

    top_k: int = DEFAULT_TOP_K
    probabilities: bool = False
    logits: bool = False


def predictions(
    labels: Sequence[str], outputs: Outputs, out_of_range: npt.NDArray[np.bool_], options: Options
) -> list[dict[str, Any]]:
    """One labelled object a row, likeliest label first; equally likely ones in label order.

    Numbers are the float64 of the float32 that onnxruntime gave, so they read back as exactly that float32.

    Raises:
        Problem: NON_FINITE_OUTPUT.
    """
    if not (np.isfinite(outputs.probabilities).all() and np.isfinite(outputs.logits).all()):
        raise Problem("NON_FINITE_OUTPUT", "the model gave NaN or infinity for an input that it should take")
    tops = _top(labels, outputs.probabilities, options.top_k)
    rows: list[dict[str, Any]] = [
        {**top[0], "top": top, "out_of_range": flag} for top, flag in zip(tops, out_of_range.tolist(), strict=True)
    ]
    if options.probabilities:
        _add(rows, "probabilities", labels, outputs.probabilities)
    if options.logits:
        _add(rows, "logits", labels, outputs.logits)
    return rows


def encode(session: Session, rows: list[dict[str, Any]], request_id: str) -> bytes:
    """The body of a V1 answer."""
    manifest = session.manifest
    return orjson.dumps(
        {
            "predictions": rows,
            "model": manifest.name,
            "version": manifest.version,
            "provider": session.provider,
            "request_id": request_id,
        }
    )


def _top(labels: Sequence[str], probabilities: Floats, top_k: int) -> list[list[dict[str, Any]]]:
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, : min(top_k, len(labels))]
    values = np.take_along_axis(probabilities, order, axis=1)
    return [
        [{"label": labels[label], "probability": value} for label, value in zip(indices, row, strict=True)]
        for indices, row in zip(order.tolist(), values.tolist(), strict=True)
    ]


def _add(rows: list[dict[str, Any]], member: str, labels: Sequence[str], values: Floats) -> None:
    for row, numbers in zip(rows, values.tolist(), strict=True):
        row[member] = dict(zip(labels, numbers, strict=True))
