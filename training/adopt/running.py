"""Bytes of a graph and rows → what onnxruntime answers, on one thread and without anything beside the file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from clipmax.inputs import Tensor
from clipmax.refusal import Refusal, shorten

# onnxruntime reports usage over the network by default; the switch must be set before its first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime  # see above

CHUNK = 1024


class Graph:
    """One graph, loaded. `name` says in refusals which one it is."""

    def __init__(self, content: bytes, name: str) -> None:
        self.name = name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what matters of it becomes a refusal
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a class of its own for each status, all directly Exceptions
            raise self._refusal("graph", error) from error

    @property
    def outputs(self) -> list[str]:
        return [output.name for output in self._session.get_outputs()]

    def run(self, names: Sequence[str], feeds: Mapping[str, Tensor]) -> list[Tensor]:
        """The named outputs for all rows, in chunks. Raises Refusal where the graph cannot take them."""
        rows = len(next(iter(feeds.values())))
        parts = [
            self._piece(names, {name: feed[start : start + CHUNK] for name, feed in feeds.items()})
            for start in range(0, rows, CHUNK)
        ]
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]

    def _piece(self, names: Sequence[str], feeds: Mapping[str, Tensor]) -> list[Tensor]:
        rows = len(next(iter(feeds.values())))
        try:
            found = [np.asarray(value) for value in self._session.run(list(names), dict(feeds))]
        except Exception as error:  # as above
            raise self._refusal(f"batch of {rows}", error) from error
        for name, value in zip(names, found, strict=True):
            if not value.ndim or len(value) != rows:
                found_shape = f"{shorten(name)} of shape {list(value.shape)}"
                raise Refusal(self.name, f"batch of {rows}", expected=f"{rows} rows in every output", found=found_shape)
        return found

    def _refusal(self, field: str, error: Exception) -> Refusal:
        found = shorten(str(error).strip().partition("\n")[0])
        return Refusal(self.name, field, expected="a model that onnxruntime runs", found=found)
