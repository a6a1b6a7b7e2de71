"""Models that a person would try on the page: the shipped digits, intents of texts, flowers by their measures, colours.

Intents and flowers are logistic regressions, fitted here in a moment and written as ONNX.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from clipmax import manifest
from clipmax.inputs import code_points
from clipmax.repository import Repository
from tests import artifacts

ROOT = Path(__file__).parents[3]
INTENTS = ("card_arrival", "exchange_rate", "lost_or_stolen_card", "passcode_forgotten")
SOILS = ("clay", "loam", "sand")
COLORS = ("blue", "green", "red")
COLOR_SHAPE = (12, 16, 3)
LENGTH, BUCKETS, FACTOR = 120, 509, 31

NOTHING_LIKE_IT = {"score": "probability", "rows": 199, "values": [-1.0] * 199}
"""As if every row of training had been more ordinary than any can be."""

Floats = npt.NDArray[np.float32]


def publish(root: Path) -> Path:
    """`mnist` as it is shipped; fitted here `tickets`, and `flowers` twice with prediction sets; `novel`, see above.

    And `colors`, pictures by their mean; `many`, of more labels than an answer can hold; `adopted`, of another tool;
    `history`, of purchases.
    """
    shutil.copytree(ROOT / "models" / "mnist" / "1", root / "mnist" / "1")
    _publish_tickets(root)
    _publish_colors(root)
    _publish_adopted(root)
    artifacts.publish_novel(root, novelty=NOTHING_LIKE_IT)
    artifacts.publish_top(root)
    artifacts.publish_history(root)
    for _ in range(2):
        _publish_flowers(root)
    return root


def _publish_tickets(root: Path) -> None:
    """Pairs of neighbouring characters, counted in so many buckets."""
    texts, labels = _tickets()
    weight, bias = _fit(_pairs(texts), labels)
    constants = {
        "begin": np.array([0]), "second": np.array([1]), "end": np.array([LENGTH]), "last": np.array([-1]),
        "axis": np.array([1]), "end_axis": np.array([2]),
        "factor": np.int32(FACTOR), "size": np.int32(BUCKETS), "buckets": np.arange(BUCKETS, dtype=np.int32),
        "ahead": np.array([0, 0, 0, 2]), "weight": weight, "bias": bias,
    }  # fmt: skip
    nodes = [
        helper.make_node("Pad", ["text", "ahead"], ["padded"]),
        helper.make_node("Slice", ["padded", "begin", "end", "axis"], ["cut"]),
        helper.make_node("Slice", ["cut", "begin", "last", "axis"], ["firsts"]),
        helper.make_node("Slice", ["cut", "second", "end", "axis"], ["seconds"]),
        helper.make_node("Mul", ["firsts", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "seconds"], ["codes"]),
        helper.make_node("Mod", ["codes", "size"], ["bucket"]),
        helper.make_node("Unsqueeze", ["bucket", "end_axis"], ["one"]),
        helper.make_node("Equal", ["one", "buckets"], ["equal"]),
        helper.make_node("Cast", ["equal"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["ones", "axis"], ["features"], keepdims=0),
        *_linear(),
    ]
    given = [helper.make_tensor_value_info("text", TensorProto.INT32, ["N", "L"])]
    schema = [{"kind": "text", "name": "text", "max_length": LENGTH}]
    _publish(
        root,
        "tickets",
        artifacts._model(given, nodes, constants, len(INTENTS)),
        labels=INTENTS,
        schema=schema,
        instances=texts[::20],
    )


def _publish_flowers(root: Path) -> None:
    """Two measures and a soil that says nothing."""
    iris = load_iris()
    measures = iris.data[:, 2:].astype(np.float32)
    soils = np.arange(len(measures)) % len(SOILS)
    weight, bias = _fit(np.hstack([measures, np.eye(5, dtype=np.float32)[soils + 2]]), iris.target)
    constants = {"mean": measures.mean(axis=0), "weight": weight[:2], "soils": weight[2:], "bias": bias,
                 "axis": np.array([1])}  # fmt: skip
    nodes = [
        helper.make_node("Concat", ["petal length", "petal width"], ["numbers"], axis=1),
        helper.make_node("IsNaN", ["numbers"], ["missing"]),
        helper.make_node("Where", ["missing", "mean", "numbers"], ["features"]),
        helper.make_node("MatMul", ["features", "weight"], ["of_numbers"]),
        helper.make_node("Gather", ["soils", "soil"], ["gathered"]),
        helper.make_node("Squeeze", ["gathered", "axis"], ["of_soil"]),
        helper.make_node("Sum", ["of_numbers", "of_soil", "bias"], ["logits"]),
    ]
    names = ("petal length", "petal width")
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in names]
    given.append(helper.make_tensor_value_info("soil", TensorProto.INT32, ["N", 1]))
    schema: list[dict[str, Any]] = [
        {"kind": "number", "name": name, "minimum": float(column.min()), "maximum": float(column.max())}
        for name, column in zip(names, measures.T, strict=True)
    ]
    schema.append({"kind": "category", "name": "soil", "categories": list(SOILS)})
    rows = [
        {**dict(zip(names, map(float, measures[row]), strict=True)), "soil": SOILS[soils[row]]} for row in (0, 50, 100)
    ]
    model = artifacts._model(given, nodes, constants, 3)
    labels = tuple(map(str, iris.target_names))
    members = {"conformal": artifacts.CONFORMAL, "abstention": artifacts.ABSTENTION}
    _publish(root, "flowers", model, labels=labels, schema=schema, instances=rows, **members)


def _publish_colors(root: Path) -> None:
    """The larger of the three means of the channels, which a picture has as red, green and blue."""
    width = COLOR_SHAPE[1]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("Gather", ["means", "order"], ["ordered"], axis=1),
        helper.make_node("Mul", ["ordered", "gain"], ["logits"]),
    ]
    constants = {"order": np.array([2, 1, 0]), "gain": np.float32(0.1)}
    given = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *COLOR_SHAPE])]
    schema = [{"kind": "image", "name": "image", "dtype": "float32", "shape": list(COLOR_SHAPE)}]
    halves = np.repeat([0.0, 1.0], width // 2)[None, :, None] * np.eye(3)[:, None, None] * 255
    pictures = [np.broadcast_to(half, COLOR_SHAPE).tolist() for half in halves]
    _publish(root, "colors", artifacts._model(given, nodes, constants, 3), labels=COLORS, schema=schema,
             instances=pictures)  # fmt: skip


def _publish_adopted(root: Path) -> None:
    """As `clipmax import` makes one without data: numbers of any size, none missing, and nothing measured."""
    nodes = [
        helper.make_node("Concat", ["x1", "x2"], ["features"], axis=1),
        helper.make_node("Identity", ["features"], ["logits"]),
    ]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("x1", "x2")]
    schema = [
        {"kind": "number", "name": name, "minimum": -1e30, "maximum": 1e30, "required": True} for name in ("x1", "x2")
    ]
    imported = {"file": "other.onnx", "sha256": "0" * 64, "producer": "", "opset": 17, "output": "y",
                "scores": "logits", "changes": [], "probes": 2, "difference": 0.0}  # fmt: skip
    members = {"imported": imported, "metrics": None, "data": None, "training": None}
    rows = [{"x1": 1.0, "x2": 0.0}, {"x1": 0.0, "x2": 3.0}]
    _publish(root, "adopted", artifacts._model(given, nodes, {}, 2), labels=("first", "second"), schema=schema,
             instances=rows, **members)  # fmt: skip


def _publish(
    root: Path,
    name: str,
    model: artifacts.Model,
    *,
    labels: tuple[str, ...],
    schema: list[dict[str, Any]],
    instances: list[Any],
    **members: Any,
) -> None:
    def write(folder: Path, version: int) -> None:
        content = model.SerializeToString()
        (folder / manifest.MODEL_FILE).write_bytes(content)
        document = artifacts.document_of(
            content, name=name, version=version, labels=list(labels), schema=schema, instances=instances, **members
        )
        (folder / manifest.MANIFEST_FILE).write_bytes(manifest.dump(manifest.seal(document)))

    Repository(root).publish(name, write)


def _tickets() -> tuple[list[str], list[int]]:
    with (ROOT / "examples" / "banking77" / "train-sample.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] in INTENTS]
    rows.sort(key=lambda row: INTENTS.index(row["category"]))
    return [row["text"] for row in rows], [INTENTS.index(row["category"]) for row in rows]


def _pairs(texts: list[str]) -> Floats:
    """What the graph counts."""
    points = np.pad(code_points(texts, LENGTH), ((0, 0), (0, 2)))[:, :LENGTH].astype(np.int64)
    buckets = (points[:, :-1] * FACTOR + points[:, 1:]) % BUCKETS
    counts = np.stack([np.bincount(row, minlength=BUCKETS) for row in buckets]).astype(np.float32)
    counts[:, 0] = 0  # padding, of which there is more or less; so its weight becomes 0
    return counts


def _fit(features: Floats, labels: Any) -> tuple[Floats, Floats]:
    """Weights [F, K] and bias [K] of a logistic regression."""
    found = LogisticRegression(max_iter=5000).fit(features, labels)
    return found.coef_.T.astype(np.float32), found.intercept_.astype(np.float32)


def _linear() -> list[Any]:
    return [
        helper.make_node("MatMul", ["features", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
