"""A torch module → an ONNX graph of standard operators, with nothing in it about the machine that made it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import onnx
import torch

from clipmax.manifest import MODEL_FILE
from clipmax.refusal import Refusal

OPSET = 20


def export(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    free_axes: tuple[Any, ...],
) -> onnx.ModelProto:
    """The graph of a module, no external data.

    Args:
        module: in evaluation mode.
        example: inputs of two rows.
        inputs: their names.
        outputs: theirs.
        free_axes: of each input the axes without a fixed size, as `torch.export` takes them.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision, unused here, is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own deprecated internals
        program = torch.onnx.export(
            module,
            example,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_shapes=free_axes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None  # noqa: S101  # dynamo=True always returns a program
    model = program.model_proto
    _drop_traces(model)
    return model


def checked(content: bytes) -> bytes:
    """The graph, if it is valid and uses standard operators only."""
    graph = onnx.load_from_string(content)
    onnx.checker.check_model(graph, full_check=True)
    foreign = sorted({node.domain for node in graph.graph.node} - {"", "ai.onnx"})
    if foreign or graph.functions:
        raise Refusal(MODEL_FILE, "operators", expected="standard ONNX", found=", ".join(foreign) or "functions")
    return content


def _drop_traces(model: onnx.ModelProto) -> None:
    """Take the exporter's notes out of the graph: each node carries stack traces with this machine's folders."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
