"""The bytes of another tool's ONNX file → a graph of standard operators with its data inputs, or the reason why not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # onnx brings it, without its types
from onnx import TensorProto, helper

from clipmax.refusal import Refusal, shorten

STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""What the service's onnxruntime runs without anything added."""
OPSET_MIN = 9
ROWS = "N"
_WHERE = "model"
_CLASS_NAMES = frozenset({"classlabels_strings", "classlabels_int64s", "classlabels_ints"})


@dataclass(frozen=True, slots=True)
class Source:
    """A file's graph, made ready to be built upon.

    Args:
        model: with a free batch axis and without ZipMap, local functions and unused operator sets.
        inputs: those of its inputs that are data, not weights.
        words: the labels in order, where the file has them.
        fixed_rows: the batch axis that was fixed in the file, None where it was free.
        changes: what was done, in words.
    """

    model: onnx.ModelProto
    inputs: tuple[onnx.ValueInfoProto, ...]
    words: tuple[str, ...] | None
    fixed_rows: int | None
    changes: tuple[str, ...]

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return next((one.version for one in self.model.opset_import if one.domain in {"", "ai.onnx"}), 1)

    @property
    def producer(self) -> str:
        """What the file says made it."""
        return f"{self.model.producer_name} {self.model.producer_version}".strip()


def read(content: bytes) -> Source:
    """Parse, refuse what must not be served, and take off what the artifact does not need.

    Raises:
        Refusal: no ONNX model, external data, foreign operators, an opset before 9, no data input.
    """
    model = _parsed(content)
    _check_inside(model)
    changes: list[str] = []
    if len(model.functions):
        model = onnx.inliner.inline_local_functions(model)
        changes.append("local functions were written out")
    _check_domains(model)
    _check_valid(model)
    words = _class_words(model.graph.node)
    if _drop_zip_maps(model.graph):
        changes.append("ZipMap was dropped")
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(value for value in model.graph.input if value.name not in weights)
    fixed = _free_batch(model.graph, inputs)
    if fixed is not None:
        changes.append(f"the batch axis, fixed at {fixed}, was made free")
    source = Source(model, inputs, words, fixed, tuple(changes))
    if source.opset < OPSET_MIN:
        raise Refusal(_WHERE, "opset", expected=f"at least {OPSET_MIN}", found=str(source.opset))
    return source


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all that its control flow holds."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from graphs(inner)


def _parsed(content: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise Refusal(_WHERE, "document", expected="an ONNX model", found="other bytes") from error
    if not len(model.graph.node):
        raise Refusal(_WHERE, "graph", expected="operators", found="none")
    return model


def _check_inside(model: onnx.ModelProto) -> None:
    """No weight may lie in another file: the path is the file's choice."""
    nodes = [node for function in model.functions for node in function.node]
    tensors = [*_tensors(model.graph), *(tensor for node in nodes for tensor in _of_node(node))]
    if any(tensor.data_location == TensorProto.EXTERNAL or len(tensor.external_data) for tensor in tensors):
        raise Refusal(_WHERE, "weights", expected="all of them inside the file", found="external data")


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: onnx.NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _tensors(graph)


def _check_domains(model: onnx.ModelProto) -> None:
    """Refuse operators that only some runtimes have; forget operator sets that nothing uses."""
    used = {node.domain for graph in graphs(model.graph) for node in graph.node}
    foreign = sorted(used - STANDARD_DOMAINS)
    if foreign:
        raise Refusal(_WHERE, "operators", expected="standard ONNX", found=shorten(", ".join(foreign)))
    kept = [one for one in model.opset_import if one.domain in used or one.domain in {"", "ai.onnx"}]
    if not any(one.domain in {"", "ai.onnx"} for one in kept):
        kept.append(helper.make_opsetid("", OPSET_MIN))  # for the operators that are added
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _check_valid(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, RuntimeError, UnicodeDecodeError) as error:  # the last: of its own message
        found = shorten(str(error).strip().partition("\n")[0])
        raise Refusal(_WHERE, "graph", expected="a valid ONNX graph", found=found) from error


def _class_words(nodes: Iterable[onnx.NodeProto]) -> tuple[str, ...] | None:
    """The labels that a classifier of scikit-learn carries in its operators, numbers as words."""
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in _CLASS_NAMES and (len(attribute.strings) or len(attribute.ints)):
                words = (word.decode("utf-8", "replace") for word in attribute.strings)
                return tuple(words) or tuple(map(str, attribute.ints))
    return None


def _drop_zip_maps(graph: onnx.GraphProto) -> bool:
    """A ZipMap turns [N, K] into N dictionaries; what it was given becomes the output instead."""
    zip_maps = {node.output[0]: node for node in graph.node if (node.domain, node.op_type) == ("ai.onnx.ml", "ZipMap")}
    for value in graph.output:
        if value.name in zip_maps:
            value.CopyFrom(helper.make_tensor_value_info(zip_maps[value.name].input[0], TensorProto.FLOAT, None))
    for node in zip_maps.values():
        graph.node.remove(node)
    return bool(zip_maps)


def _free_batch(graph: onnx.GraphProto, inputs: Sequence[onnx.ValueInfoProto]) -> int | None:
    """Give every data input a free first axis. Whether the graph inside agrees is for the checks to find."""
    if not inputs:
        raise Refusal(_WHERE, "inputs", expected="at least one for data", found="none")
    fixed: int | None = None
    for value in inputs:
        shape = value.type.tensor_type.shape
        if not value.type.HasField("tensor_type") or not len(shape.dim):
            found = f"{shorten(value.name)} has none"
            raise Refusal(_WHERE, "inputs", expected="tensors with rows along the first axis", found=found)
        fixed = shape.dim[0].dim_value or fixed
        shape.dim[0].dim_param = ROWS
    if fixed is not None:  # shapes that were inferred from it are wrong now
        del graph.value_info[:]
        for output in graph.output:
            output.type.tensor_type.ClearField("shape")
    return fixed
