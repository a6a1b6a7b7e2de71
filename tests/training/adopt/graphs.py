"""Small graphs made by hand, each with one thing that an import must deal with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

LABELS = ("red", "green", "blue")
WEIGHT = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
LINEAR = ("MatMul", ["x", "weight"], ["y"])

Node = tuple[str, list[str], list[str]] | tuple[str, list[str], list[str], dict[str, Any]]


def model(
    *nodes: Node,
    shape: Sequence[int | str] = ("N", 4),
    dtype: int = TensorProto.FLOAT,
    outputs: Mapping[str, Sequence[int | str] | None] | None = None,
    constants: Mapping[str, Any] | None = None,
    domains: Mapping[str, int] | None = None,
) -> ModelProto:
    """One input `x`, by default float32 [N, 4], and by default one output `y` [N, 3]; `weight` is [4, 3]."""
    made = [helper.make_node(node[0], node[1], node[2], **(node[3] if len(node) > 3 else {})) for node in nodes]
    given = {"weight": WEIGHT, **(constants or {})}
    graph = helper.make_graph(
        made,
        "by hand",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None if sizes is None else list(sizes))
            for name, sizes in (outputs or {"y": ("N", 3)}).items()
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in given.items()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in {"": 17, **(domains or {})}.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def linear(**settings: Any) -> ModelProto:
    """Logits of four numbers."""
    return model(LINEAR, **settings)


def content(made: ModelProto) -> bytes:
    """The file's bytes."""
    found: bytes = made.SerializeToString()
    return found
