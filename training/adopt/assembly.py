"""A file's graph, the way in and the way out → one graph from a client's inputs to calibrated probabilities."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.adopt.entrance import FILE, INSIDE, Entrance
from training.adopt.scores import Answer
from training.adopt.source import ROWS, Source, graphs


def build(
    source: Source, entrance: Entrance, answer: Answer, *, labels: int, limit: float, temperature: float = 1.0
) -> bytes:
    """The whole graph: clip, layout, the file's operators that the answer needs, logits, temperature, softmax.

    Args:
        source: the file.
        entrance: what stands before it.
        answer: where its logits come from.
        labels: K.
        limit: numbers are clipped to ± this.
        temperature: divides the logits.
    """
    inner = onnx.GraphProto()
    inner.CopyFrom(source.model.graph)
    _keep(inner, answer.value)
    _rename(inner)
    before = entrance.parts(limit)
    nodes, constants = _after(answer, temperature)
    graph = helper.make_graph(
        [*before.nodes, *inner.node, *nodes],
        "imported",
        before.inputs,
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [ROWS, labels])
            for name in ("logits", "probabilities")
        ],
        [*before.constants, *inner.initializer, *constants],
        sparse_initializer=list(inner.sparse_initializer),
    )
    model = helper.make_model(
        graph,
        opset_imports=list(source.model.opset_import),
        ir_version=source.model.ir_version,
        producer_name="clipmax",
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def with_outputs(source: Source, names: Iterable[str]) -> bytes:
    """The file's graph as it is, with values inside it among its outputs."""
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    there = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in there)
    content: bytes = model.SerializeToString()
    return content


def _after(answer: Answer, temperature: float) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """From the file's value to both outputs."""
    value, inside = FILE + answer.value, INSIDE
    nodes = [helper.make_node("Cast", [value], [f"{inside}scores"], to=TensorProto.FLOAT)]
    constants = [numpy_helper.from_array(np.array(temperature, dtype=np.float32), f"{inside}temperature")]
    if answer.floor is not None:
        constants.append(numpy_helper.from_array(np.array(answer.floor, dtype=np.float32), f"{inside}floor"))
        nodes.append(helper.make_node("Max", [f"{inside}scores", f"{inside}floor"], [f"{inside}raised"]))
        nodes.append(helper.make_node("Log", [f"{inside}raised"], ["logits"]))
    elif answer.columns == 1:
        constants.append(numpy_helper.from_array(np.array([[0.0, 1.0]], dtype=np.float32), f"{inside}second"))
        nodes.append(helper.make_node("MatMul", [f"{inside}scores", f"{inside}second"], ["logits"]))
    else:
        nodes.append(helper.make_node("Identity", [f"{inside}scores"], ["logits"]))
    nodes.append(helper.make_node("Div", ["logits", f"{inside}temperature"], [f"{inside}tempered"]))
    nodes.append(helper.make_node("Softmax", [f"{inside}tempered"], ["probabilities"], axis=1))
    return nodes, constants


def _keep(graph: onnx.GraphProto, value: str) -> None:
    """Drop the operators and weights that a value does not need: labels as words, a softmax."""
    needed, kept = {value}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= _reads(node)
    nodes, weights = list(reversed(kept)), [one for one in graph.initializer if one.name in needed]
    sparse = [one for one in graph.sparse_initializer if one.values.name in needed]
    del graph.node[:], graph.initializer[:], graph.sparse_initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    graph.sparse_initializer.extend(sparse)


def _reads(node: onnx.NodeProto) -> set[str]:
    """What a node reads, inside its control flow too."""
    inner = (graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs))
    nested = (name for graph in inner for every in graphs(graph) for one in every.node for name in one.input)
    outputs = (value.name for attribute in node.attribute for value in attribute.g.output)
    return {*node.input, *nested, *outputs}


def _rename(graph: onnx.GraphProto) -> None:
    """All names begin with `file/`, and the notes of the exporter, which may name folders of a machine, are gone."""
    for every in graphs(graph):
        for value in (*every.input, *every.output, *every.value_info, *every.initializer):
            value.name = _renamed(value.name)
        for sparse in every.sparse_initializer:
            sparse.values.name = _renamed(sparse.values.name)
        for node in every.node:
            node.input[:] = [_renamed(name) for name in node.input]
            node.output[:] = [_renamed(name) for name in node.output]
            node.name = _renamed(node.name)
            node.ClearField("doc_string")
            del node.metadata_props[:]
        for tensor in every.initializer:
            del tensor.metadata_props[:]


def _renamed(name: str) -> str:
    """An input that is left out has no name, and keeps none."""
    return FILE + name if name else name
