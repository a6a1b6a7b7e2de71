"""A graph and rows → what onnxruntime answers, in the float32 that the service will give."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clipmax.inputs import Input
from clipmax.refusal import Refusal
from training.data.dataset import Indices, Split
from training.features import columns

# onnxruntime reports usage over the network by default; the switch must be set before its first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime  # see above

_ROWS = 1024
_TEXTS = 64
"""Memory grows with texts times the longest of them: 64 of 1,024 code points take about 60 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the graph gave: logits and probabilities, float32 [N, K] each, and novelty, float32 [N], if it has that.

    The true labels, int64 [N], stand beside it.
    """

    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    labels: Indices
    novelty: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Indices) -> Answers:
        """Those for some rows, by number."""
        return Answers(
            logits=self.logits[rows],
            probabilities=self.probabilities[rows],
            labels=self.labels[rows],
            novelty=None if self.novelty is None else self.novelty[rows],
        )


def session(graph: bytes | Path) -> onnxruntime.InferenceSession:
    """By its path, a graph takes half the memory while it is loaded.

    One thread: torch's pool is alive in this process, and two spinning pools on few cores cost far more.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


InferenceSession = onnxruntime.InferenceSession


def answer(session: onnxruntime.InferenceSession, inputs: Sequence[Input], split: Split) -> Answers:
    """The answers for every row of a split, in chunks of bounded memory.

    Raises:
        Refusal: a graph that answers the most probable classes only.
    """
    names = [schema.name for schema in inputs]
    outputs = [output.name for output in session.get_outputs()]
    if "probabilities" not in outputs:
        expected = "a graph that answers all probabilities"
        raise Refusal("model.onnx", "outputs", expected=expected, found=", ".join(outputs))
    chunks: dict[str, list[npt.NDArray[np.float32]]] = {output: [] for output in outputs}
    rows = _TEXTS if any(schema.kind == "text" for schema in inputs) else _ROWS
    for start in range(0, len(split), rows):
        tensors = columns.tensors(inputs, split, slice(start, start + rows))
        feeds = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        for output, values in zip(outputs, session.run(outputs, feeds), strict=True):
            chunks[output].append(values)
    return Answers(labels=split.labels, **{output: np.concatenate(values) for output, values in chunks.items()})
