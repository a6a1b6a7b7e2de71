"""Tiny real artifacts of each kind of input, published as training publishes one, without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from pydantic import TypeAdapter

from clipmax import inputs, manifest
from clipmax.repository import Repository

SHAPE = (4, 4)
TEMPERATURE = 1.5

IMAGE: list[dict[str, Any]] = [{"kind": "image", "name": "image", "dtype": "float32", "shape": list(SHAPE)}]
TABLE: list[dict[str, Any]] = [
    {"kind": "number", "name": "age", "minimum": 0.0, "maximum": 100.0},
    {"kind": "number", "name": "seen", "minimum": 1.6e9, "maximum": 1.7e9, "origin": 1.65e9},
    {"kind": "category", "name": "city", "categories": ["Rome", "Oslo"]},
]
TEXT: list[dict[str, Any]] = [{"kind": "text", "name": "text", "max_length": 8}]
HISTORY: list[dict[str, Any]] = [
    {
        "kind": "history",
        "name": "history",
        "items": ["label 0", "label 1", "label 2", "no label"],
        "max_length": 40,
        "maximum": 100.0,
    }
]
TABLE_ROWS: list[Any] = [
    {"age": 30, "seen": 1_650_000_100, "city": "Rome"},
    {"age": None, "city": "Oslo"},
    [7, None, "Bern"],
]
TEXT_ROWS: list[Any] = ["banana", "", "a text that is cut", "ö\U0001f600"]
HISTORY_ROWS: list[Any] = [
    {"items": ["label 2", "label 0", "label 2", "gone"], "days_ago": [1, 30.5, 7, 3]},
    {"items": [], "days_ago": []},
    {"items": ["no label"] * 12, "days_ago": [200.0] * 12},
]

CONFORMAL = {
    method: {"method": method, "rows": 9, "scores": [round(0.1 * rank, 1) for rank in range(1, 10)]}
    for method in ("plain", "adaptive")
}
ABSTENTION = {"risk": 0.1, "confidence_level": 0.9, "threshold": 0.6, "coverage": 0.8, "rows": 9}

NOVELTY = {"score": "probability", "rows": 9, "values": [round(0.05 * rank, 2) for rank in range(1, 10)]}

Model = onnx.ModelProto
Floats = npt.NDArray[np.float32]


def publish(root: Path, name: str = "tiny", *, labels: int = 3, **members: Any) -> Path:
    """Publish the next version of an image model; its weights, and so its answers, depend on the version.

    Args:
        root: the models folder.
        name: of the model.
        labels: how many.
        members: further members of the manifest.

    Returns:
        The folder of the version.
    """
    return publish_made(root, name, lambda version: model(version, labels=labels), labels=labels, **members)


def publish_table(root: Path, name: str = "table", **members: Any) -> Path:
    """The same with two numbers, one of them with an origin, and a category."""
    return publish_made(root, name, table_model, schema=TABLE, instances=TABLE_ROWS, **members)


def publish_text(root: Path, name: str = "text", **members: Any) -> Path:
    """The same with a text of which eight code points are read."""
    return publish_made(root, name, text_model, schema=TEXT, instances=TEXT_ROWS, **members)


def publish_history(root: Path, name: str = "history", **members: Any) -> Path:
    """The same with a history of four items, three of which are labels."""
    return publish_made(root, name, history_model, schema=HISTORY, instances=HISTORY_ROWS, **members)


def publish_novel(root: Path, name: str = "novel", **members: Any) -> Path:
    """An image model whose graph has a novelty too: 1 - the largest probability."""
    outputs = ["logits", "probabilities", "novelty"]
    return publish_made(root, name, lambda version: _with_novelty(model(version)), outputs=outputs, **members)


def publish_top(root: Path, name: str = "many", *, labels: int = 12_000, top_k: int = 10, **members: Any) -> Path:
    """An image model of very many labels, whose graph gives the likeliest of them and the partition sum."""
    members = {"outputs": list(manifest.TOP_OUTPUTS), **members}
    return publish_made(root, name, lambda version: top_model(version, labels, top_k), labels=labels, **members)


def publish_made(root: Path, name: str, make: Callable[[int], Model], *, labels: int = 3, **members: Any) -> Path:
    """The same of any graph: `make` gives that of a version."""
    words = [f"label {index}" for index in range(labels)]

    def write(folder: Path, version: int) -> None:
        content = make(version).SerializeToString()
        (folder / manifest.MODEL_FILE).write_bytes(content)
        document = document_of(content, name=name, version=version, labels=words, **members)
        manifest.write(folder, document)

    return Repository(root).publish(name, write)


def rows(count: int, *, seed: int = 0) -> list[list[float]]:
    """Pixels of `count` images, flat, as a client sends them."""
    generator = np.random.default_rng(seed)
    pixels: list[list[float]] = (
        generator.integers(0, 256, size=(count, *SHAPE)).astype(float).reshape(count, -1).tolist()
    )
    return pixels


def run(
    content: bytes, instances: Sequence[Any], schema: Sequence[dict[str, Any]] = tuple(IMAGE)
) -> tuple[Floats, Floats]:
    """Logits and probabilities of instances by onnxruntime itself."""
    found = TypeAdapter(tuple[inputs.Input, ...]).validate_python(tuple(schema))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    logits, probabilities = session.run(["logits", "probabilities"], inputs.tensors(found, instances))
    return logits, probabilities


def run_top(content: bytes, instances: Sequence[Any], schema: Sequence[dict[str, Any]] = tuple(IMAGE)) -> list[Any]:
    """Indices, probabilities and the log of the partition sum, in the same way."""
    found = TypeAdapter(tuple[inputs.Input, ...]).validate_python(tuple(schema))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return list(session.run(list(manifest.TOP_OUTPUTS), inputs.tensors(found, instances)))


def model(version: int, *, labels: int = 3) -> Model:
    """float32 image [N, 4, 4] → clip to 0..255 → /255 → linear → logits [N, labels] → /temperature → softmax."""
    nodes, constants = _scored(version, labels)
    return _model([_image()], nodes, constants, labels)


def top_model(version: int, labels: int, top_k: int) -> Model:
    """The same logits → /temperature → log of the partition sum, and the `top_k` likeliest labels."""
    nodes, constants = _scored(version, labels)
    last = [
        helper.make_node("Div", ["logits", "temperature"], ["divided"]),
        helper.make_node("ReduceMax", ["divided"], ["highest"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["divided", "highest"], ["below"]),
        helper.make_node("Exp", ["below"], ["powers"]),
        helper.make_node("ReduceSum", ["powers", "axis"], ["sum"], keepdims=1),
        helper.make_node("Log", ["sum"], ["log_sum"]),
        helper.make_node("Add", ["log_sum", "highest"], ["column"]),
        helper.make_node("Squeeze", ["column", "axis"], ["log_partition"]),
        helper.make_node("TopK", ["divided", "k"], ["top_values", "top_indices"], axis=1),
        helper.make_node("Sub", ["top_values", "column"], ["top_logs"]),
        helper.make_node("Exp", ["top_logs"], ["top_probabilities"]),
    ]
    constants |= {"temperature": np.float32(TEMPERATURE), "axis": np.array([1]), "k": np.array([top_k])}
    outputs = [
        helper.make_tensor_value_info("top_indices", TensorProto.INT64, ["N", top_k]),
        helper.make_tensor_value_info("top_probabilities", TensorProto.FLOAT, ["N", top_k]),
        helper.make_tensor_value_info("log_partition", TensorProto.FLOAT, ["N"]),
    ]
    return _made([*nodes, *last], [_image()], outputs, constants)


def _image() -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *SHAPE])


def _scored(version: int, labels: int) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    generator = np.random.default_rng(version)
    constants = {
        "low": np.float32(0),
        "high": np.float32(255),
        "weight": generator.normal(size=(SHAPE[0] * SHAPE[1], labels)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Clip", ["image", "low", "high"], ["clipped"]),
        helper.make_node("Flatten", ["clipped"], ["flat"]),
        helper.make_node("Div", ["flat", "high"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "weight"], ["logits"]),
    ]
    return nodes, constants


def table_model(version: int) -> Model:
    """Age and seen: float32 [N, 1], NaN where missing, city int32 [N, 1] → three features → linear → logits [N, 3]."""
    generator = np.random.default_rng(version)
    constants = {
        "low": np.array([0, -5e7], dtype=np.float32),
        "high": np.array([100, 5e7], dtype=np.float32),
        "middle": np.array([50, 0], dtype=np.float32),
        "weight": generator.normal(size=(2, 3)).astype(np.float32),
        "cities": generator.normal(size=(4, 3)).astype(np.float32),
        "one": np.array([1]),
    }
    nodes = [
        helper.make_node("Concat", ["age", "seen"], ["numbers"], axis=1),
        helper.make_node("IsNaN", ["numbers"], ["missing"]),
        helper.make_node("Where", ["missing", "middle", "numbers"], ["filled"]),
        helper.make_node("Min", ["filled", "high"], ["below"]),
        helper.make_node("Max", ["below", "low"], ["clipped"]),
        helper.make_node("Div", ["clipped", "high"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "weight"], ["of_numbers"]),
        helper.make_node("Gather", ["cities", "city"], ["gathered"]),
        helper.make_node("Squeeze", ["gathered", "one"], ["of_city"]),
        helper.make_node("Add", ["of_numbers", "of_city"], ["logits"]),
    ]
    columns = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("age", "seen")]
    city = helper.make_tensor_value_info("city", TensorProto.INT32, ["N", 1])
    return _model([*columns, city], nodes, constants, 3)


def text_model(version: int) -> Model:
    """Text: int32 [N, L] → how often each of three letters is among the first eight → linear → logits [N, 3]."""
    generator = np.random.default_rng(version)
    constants = {
        "begin": np.array([0]),
        "end": np.array([8]),
        "axis": np.array([1]),
        "last": np.array([2]),
        "letters": np.array([97, 98, 110], dtype=np.int32),
        "weight": generator.normal(size=(3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Slice", ["text", "begin", "end", "axis"], ["cut"]),
        helper.make_node("Unsqueeze", ["cut", "last"], ["points"]),
        helper.make_node("Equal", ["points", "letters"], ["equal"]),
        helper.make_node("Cast", ["equal"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["ones", "axis"], ["counts"], keepdims=0),
        helper.make_node("MatMul", ["counts", "weight"], ["logits"]),
    ]
    return _model([helper.make_tensor_value_info("text", TensorProto.INT32, ["N", "L"])], nodes, constants, 3)


def history_model(version: int) -> Model:
    """History: float32 [N, L, 2] → how often each item is there, less the longer ago → linear → logits [N, 3]."""
    generator = np.random.default_rng(version)
    constants = {
        "low": np.float32(0),
        "high": np.float32(100),
        "axis": np.array([1]),
        "last": np.array([2]),
        "begin": np.array([2]),
        "end": np.array([6]),
        "depth": np.array(6, dtype=np.int64),
        "off_on": np.array([0, 1], dtype=np.float32),
        "decay": np.float32(-60),
        "weight": generator.normal(size=(4, 3)).astype(np.float32),
        "prior": generator.normal(size=3).astype(np.float32),
    }
    nodes = [
        helper.make_node("Split", ["history"], ["codes", "days"], axis=2),
        helper.make_node("Squeeze", ["codes", "last"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["items"], to=TensorProto.INT64),
        helper.make_node("OneHot", ["items", "depth", "off_on"], ["places"], axis=-1),
        helper.make_node("Clip", ["days", "low", "high"], ["clipped"]),
        helper.make_node("Div", ["clipped", "decay"], ["ages"]),
        helper.make_node("Exp", ["ages"], ["amounts"]),
        helper.make_node("Mul", ["places", "amounts"], ["each"]),
        helper.make_node("ReduceSum", ["each", "axis"], ["all_codes"], keepdims=0),
        helper.make_node("Slice", ["all_codes", "begin", "end", "axis"], ["counts"]),
        helper.make_node("MatMul", ["counts", "weight"], ["of_items"]),
        helper.make_node("Add", ["of_items", "prior"], ["logits"]),
    ]
    given = helper.make_tensor_value_info("history", TensorProto.FLOAT, ["N", "L", 2])
    return _model([given], nodes, constants, 3)


def _model(
    given: list[onnx.ValueInfoProto], nodes: list[onnx.NodeProto], constants: dict[str, Any], labels: int
) -> Model:
    """A graph from its inputs to logits, with temperature and softmax added."""
    constants = {**constants, "temperature": np.float32(TEMPERATURE)}
    last = [
        helper.make_node("Div", ["logits", "temperature"], ["divided"]),
        helper.make_node("Softmax", ["divided"], ["probabilities"], axis=-1),
    ]
    outputs = [helper.make_tensor_value_info(one, TensorProto.FLOAT, ["N", labels]) for one in manifest.FULL_OUTPUTS]
    return _made([*nodes, *last], given, outputs, constants)


def _made(
    nodes: list[onnx.NodeProto],
    given: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, Any],
) -> Model:
    graph = helper.make_graph(
        nodes,
        "tiny",
        given,
        outputs,
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _with_novelty(content: Model) -> Model:
    content.graph.node.append(helper.make_node("ReduceMax", ["probabilities"], ["top"], axes=[1], keepdims=0))
    content.graph.node.append(helper.make_node("Sub", ["one", "top"], ["novelty"]))
    content.graph.initializer.append(numpy_helper.from_array(np.asarray(1, dtype=np.float32), "one"))
    content.graph.output.append(helper.make_tensor_value_info("novelty", TensorProto.FLOAT, ["N"]))
    return content


def document_of(
    content: bytes,
    *,
    name: str,
    version: int,
    labels: list[str],
    schema: Sequence[dict[str, Any]] = tuple(IMAGE),
    instances: Sequence[Any] | None = None,
    **members: Any,
) -> dict[str, Any]:
    """A manifest without its seal, for a model that has been through `run`."""
    instances = rows(3) if instances is None else instances
    is_top = members.get("outputs") == list(manifest.TOP_OUTPUTS)
    golden = (_top_golden if is_top else _golden)(content, instances, schema)
    digest = hashlib.sha256(content).hexdigest()
    return {
        "format_version": manifest.FORMAT_VERSION,
        "name": name,
        "version": version,
        "created": "2026-01-02T03:04:05+00:00",
        "task": "classification",
        "inputs": list(schema),
        "outputs": ["logits", "probabilities"],
        "labels": labels,
        "temperature": TEMPERATURE,
        "metrics": {
            "rows": 3,
            "accuracy": 0.9,
            "macro_f1": 0.9,
            "log_loss": 0.3,
            "brier": 0.2,
            "ece": 0.01,
            "ece_uncalibrated": 0.02,
            "log_loss_uncalibrated": 0.4,
        },
        "data": {"fingerprint": "0" * 64, "files": {}, "rows": {"train": 8, "validation": 3, "test": 3}},
        "training": {"seed": 0, "epochs": 1, "best_epoch": 1, "configuration": {}},
        "libraries": {"onnx": onnx.__version__},
        "files": {manifest.MODEL_FILE: {"sha256": digest, "bytes": len(content)}},
        "golden": golden,
        **members,
    }


def _golden(content: bytes, instances: Sequence[Any], schema: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    _, probabilities = run(content, instances, schema)
    return [
        {"instance": instance, "probabilities": row}
        for instance, row in zip(instances, probabilities.astype(float).tolist(), strict=True)
    ]


def _top_golden(content: bytes, instances: Sequence[Any], schema: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = [column.tolist() for column in run_top(content, instances, schema)]
    return [
        {"instance": instance, **dict(zip(manifest.TOP_OUTPUTS, row, strict=True))}
        for instance, row in zip(instances, zip(*columns, strict=True), strict=True)
    ]
