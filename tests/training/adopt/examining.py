"""An examination in this process, without its limits: quick, and a debugger can follow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from clipmax import inputs
from tests.training.adopt.frameworks import Array, Foreign
from training.adopt import examination
from training.adopt.request import FILE, GRAPH, Outcome, Request
from training.adopt.running import Graph

_INPUTS = TypeAdapter(tuple[inputs.Input, ...])


@dataclass(frozen=True)
class Examined:
    """An outcome and the graph that came with it."""

    outcome: Outcome
    graph: bytes

    @property
    def inputs(self) -> tuple[inputs.Input, ...]:
        return _INPUTS.validate_python(self.outcome.members["inputs"])

    def run(self, rows: Array) -> tuple[Array, Array]:
        """Logits and probabilities for rows as a client has them, uncompromised by anything of `training.adopt`."""
        logits, probabilities = Graph(self.graph, "graph").run(["logits", "probabilities"], self.tensors(rows))
        return logits, probabilities

    def tensors(self, rows: Array) -> dict[str, Array]:
        """By way of JSON values."""
        names = [schema.name for schema in self.inputs]
        if self.inputs[0].kind == "image":
            return inputs.tensors(self.inputs, rows.reshape(len(rows), -1).astype(float).tolist())
        return inputs.tensors(self.inputs, [dict(zip(names, row, strict=True)) for row in rows.astype(float).tolist()])


def examine(
    folder: Path,
    content: bytes,
    labels: tuple[str, ...],
    data: Mapping[str, tuple[Array, Array]] | None = None,
    **settings: Any,
) -> Examined:
    """Raises what the examination raises."""
    (folder / FILE).write_bytes(content)
    for name, (rows, classes) in (data or {}).items():
        np.savez(folder / f"{name}.npz", x=rows, y=classes)
    bounds = {"memory_bytes": 2**32, "cpu_seconds": 60, "file_bytes": 2**31, "risk": 0.1}
    outcome = examination.examine(folder, Request(labels=labels, **bounds | settings))
    return Examined(outcome, (folder / GRAPH).read_bytes())


def examine_foreign(folder: Path, foreign: Foreign, **settings: Any) -> Examined:
    """The same for a real file."""
    return examine(folder, foreign.content, foreign.labels, pixels=foreign.pixels, **settings)
