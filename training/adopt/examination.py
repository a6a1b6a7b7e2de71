"""A folder with a stranger's file and a request → the finished graph and its manifest's members beside them.

Runs as a process of its own, `python -m training.adopt.examination FOLDER`, bound before it looks at the file.
"""

from __future__ import annotations

import sys
import unicodedata
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from clipmax import inputs as inputs_module
from clipmax.inputs import ImageInput, Input, Tensor
from clipmax.refusal import Refusal, shorten
from training.adopt import assembly, checks, entrance, fitting, probes, scores, source
from training.adopt.checks import Case
from training.adopt.entrance import Entrance, Options
from training.adopt.fitting import Fitted, Labelled
from training.adopt.limits import Limits
from training.adopt.request import FILE, GRAPH, OUTCOME, REQUEST, Outcome, Reason, Request, as_json, write
from training.adopt.running import Graph
from training.adopt.scores import Answer
from training.adopt.source import Source

_GOLDEN_ROWS = 16
_GIVEN_ROWS = 1024
_LIBRARIES = ("numpy", "onnx", "onnxruntime")


def main(folder: Path) -> None:
    """Examine, and leave the outcome; a refusal is an outcome too."""
    request = Request.model_validate_json((folder / REQUEST).read_bytes())
    Limits(memory_bytes=request.memory_bytes, cpu_seconds=request.cpu_seconds, file_bytes=request.file_bytes).apply()
    try:
        outcome = examine(folder, request)
    except Refusal as refusal:
        reason = Reason(where=refusal.where, field=refusal.field, expected=refusal.expected, found=refusal.found)
        outcome = Outcome(refusal=reason)
    write(folder / OUTCOME, outcome)


def examine(folder: Path, request: Request) -> Outcome:
    """All checks, in the order in which their messages help most; then the graph.

    Raises:
        Refusal: at the first thing that is wrong.
    """
    file = source.read((folder / FILE).read_bytes())
    _check_words(file, request.labels)
    way_in = entrance.describe(
        file.inputs, Options(columns=request.columns, image=request.image, pixels=request.pixels)
    )
    data = {name: _labelled(folder / f"{name}.npz", way_in) for name in ("validation", "test")}
    rows = _rows(way_in, [one for one in data.values() if one])
    answer = _answer(file, way_in, rows, request)
    theirs = Graph(assembly.with_outputs(file, [answer.value]), "model")
    bound = checks.limit(theirs, way_in, answer)
    case = Case(theirs, way_in, answer, bound)

    def build(temperature: float) -> bytes:
        return assembly.build(file, way_in, answer, labels=len(request.labels), limit=bound, temperature=temperature)

    ours = Graph(build(1.0), "graph")
    difference = checks.parity(ours, case, rows)
    checks.independence(ours, rows)
    checks.ends(ours, case)
    schemas = way_in.schemas(bound)
    fitted = fitting.fit(build, schemas, validation=data["validation"], test=data["test"], risk=request.risk)
    golden = _golden(case, rows, fitted)
    (folder / GRAPH).write_bytes(fitted.content)
    facts = {
        "producer": file.producer,
        "opset": file.opset,
        "output": answer.output,
        "scores": answer.scores,
        "probability_floor": answer.floor,
        "changes": [*file.changes, *scores.changes(answer), *_clipping(schemas)],
        "probes": probes.count(rows),
        "difference": difference,
        "rows": {name: len(one.labels) for name, one in data.items() if one},
    }
    return Outcome(members=_members(schemas, fitted, golden), imported=facts)


def _check_words(file: Source, labels: tuple[str, ...]) -> None:
    """A file of scikit-learn may know its labels; an order of its own would give every answer another's name."""
    numbered = file.words is not None and all(word.isdecimal() for word in file.words)
    if numbered and not all(label.isdecimal() for label in labels):
        return  # words for what the file only numbers
    if file.words is not None and file.words != labels:
        expected = f"as the file has them, {shorten(', '.join(file.words))}"
        raise Refusal("labels", "order", expected=expected, found=shorten(", ".join(labels)))


def _labelled(path: Path, way_in: Entrance) -> Labelled | None:
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        rows, labels = arrays["x"], arrays["y"]
    schemas = way_in.schemas(checks.LIMITS[-1])
    first = schemas[0]
    if isinstance(first, ImageInput):
        size = int(np.prod(rows.shape[1:]))
        if size != first.size:
            raise Refusal(path.stem, "pixels", expected=f"{first.size} a row", found=str(size))
        return Labelled({first.name: rows.reshape(len(rows), *first.shape).astype(np.float32)}, labels)
    if rows.ndim != 2 or rows.shape[1] != len(schemas):
        raise Refusal(path.stem, "columns", expected=str(len(schemas)), found=str(list(rows.shape[1:])))
    return Labelled(probes.columns(schemas, rows), labels)


def _rows(way_in: Entrance, data: list[Labelled]) -> dict[str, Tensor]:
    """Rows to compare on: those given first, for they are what the model is for, then ordinary probes."""
    parts = [probes.take(one.tensors, slice(_GIVEN_ROWS)) for one in data]
    parts.append(probes.ordinary(way_in.schemas(checks.LIMITS[0])))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _answer(file: Source, way_in: Entrance, rows: dict[str, Tensor], request: Request) -> Answer:
    """Where the logits are, by what the file itself answers on the rows."""
    graph = Graph(assembly.with_outputs(file, []), "model")
    feeds = way_in.feeds(rows, checks.LIMITS[0])
    try:
        found = dict(zip(graph.outputs, graph.run(graph.outputs, feeds), strict=True))
    except Refusal as refusal:
        if file.fixed_rows is None:
            raise
        expected = "a free one: export the model again with a dynamic batch axis"
        at = f"fixed at {file.fixed_rows}, inside the graph too"
        raise Refusal("model", "batch axis", expected=expected, found=at) from refusal
    output = scores.choose(file, found, len(request.labels), request.output)
    values = found[output]
    if not np.isfinite(values).all():
        raise Refusal("model", "scores", expected="finite for ordinary inputs", found="NaN or infinity")
    checks.variety(values)
    return scores.locate(file, output, values)


def _golden(case: Case, rows: dict[str, Tensor], fitted: Fitted) -> list[dict[str, JsonValue]]:
    """Rows as clients send them, with probabilities from the file's own scores, computed in float64."""
    schemas = case.entrance.schemas(case.bound)
    places = np.linspace(0, probes.count(rows) - 1, _GOLDEN_ROWS).astype(np.int64)
    tensors = probes.take(rows, places)
    instances = [_instance(schemas, tensors, row) for row in range(len(places))]
    sent = inputs_module.tensors(schemas, instances)
    _, value = case.run(sent)
    expected = scores.softmax(scores.logits(case.answer, value) / fitted.temperature)
    (found,) = Graph(fitted.content, "graph").run(["probabilities"], sent)
    difference = float(np.abs(found - expected).max())
    if not difference <= checks.PARITY:
        raise Refusal("model", "golden", expected=f"within {checks.PARITY:g}", found=f"{difference:.3g}")
    return [
        {"instance": instance, "probabilities": row.tolist()} for instance, row in zip(instances, expected, strict=True)
    ]


def _instance(schemas: tuple[Input, ...], tensors: dict[str, Tensor], row: int) -> JsonValue:
    if isinstance(schemas[0], ImageInput):
        pixels: list[JsonValue] = tensors[schemas[0].name][row].reshape(-1).tolist()
        return pixels
    values: dict[str, JsonValue] = {schema.name: float(tensors[schema.name][row, 0]) for schema in schemas}
    return values


def _clipping(schemas: tuple[Input, ...]) -> tuple[str, ...]:
    first = schemas[0]
    if isinstance(first, ImageInput):
        return ("pixels are clipped to 0..255, then scaled and laid out as the file wants them",)
    return (f"inputs are clipped to ±{first.maximum:g}, up to which probes gave finite scores",)  # type: ignore[union-attr]


def _members(schemas: tuple[Input, ...], fitted: Fitted, golden: list[dict[str, JsonValue]]) -> dict[str, Any]:
    libraries = {name: library_version(name) for name in _LIBRARIES}
    return {
        "inputs": [schema.model_dump(mode="json") for schema in schemas],
        "temperature": fitted.temperature,
        "metrics": as_json(fitted.metrics),
        "conformal": as_json(fitted.conformal),
        "abstention": as_json(fitted.abstention),
        "reference": as_json(fitted.reference),
        "libraries": libraries | {"unicode": unicodedata.unidata_version},
        "golden": golden,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
