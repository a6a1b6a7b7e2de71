"""A published version and held-out rows → the next version, with the two-stage graph, where that is good enough."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from clipmax import files as files_module
from clipmax import inputs, repository
from clipmax import manifest as manifest_module
from clipmax.head import Approximate
from clipmax.manifest import MODEL_FILE, TOP_OUTPUTS, Manifest
from clipmax.refusal import Refusal
from clipmax.repository import Repository
from training import answers
from training.approximate import cells as cells_module
from training.approximate import graph as graph_module
from training.approximate import layer as layers
from training.approximate import sketch as sketches
from training.approximate.cells import Floats, Indices
from training.approximate.graph import Cells
from training.approximate.layer import Layer
from training.config import Run
from training.data import sources
from training.data.dataset import Split
from training.data.recoding import recode
from training.features import columns
from training.heads.table import LINEAR

RECALL_K = 5
RECALL = 0.99
"""Share of the exact top 5 that an approximate graph must find; with less it is not published."""

LIMIT_MS = 0.3
"""Of one row in the session. A graph that must probe many cells to find enough is slower."""

DIMENSIONS = 48
"""Of the sketch. More cost time for all classes, fewer make more cells necessary."""

_SIZE = 16
"""Classes in a cell."""

_LEAST_SCORED = 512
"""Classes that are scored exactly, however few would hold the top 5: the others are estimated."""

_ANSWERED = 100
_MARGIN = 0.005
"""By which the rows that choose how many cells are probed must exceed `RECALL`, because other rows judge it."""

_MOST_PROBED = 4
"""Of so many cells at most one is probed: more would cost as much as all classes."""

_ROWS, _FITTING_ROWS = 1000, 4096
_TIMED_ROWS, _BLOCK = 300, 50
_SAME = 1e-3
"""Nats between the partition sum of the layer that was found and that of the graph."""

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Top:
    """Most probable classes int64 [N, k], their probabilities float32 [N, k], log of the partition sum float32 [N]."""

    indices: Indices
    probabilities: Floats
    log_partition: Floats


def export(
    folder: Path,
    fitting: Split,
    tuning: Split,
    held_out: Split,
    *,
    dimensions: int = DIMENSIONS,
    seed: int = 0,
    limit_ms: float = LIMIT_MS,
) -> Path:
    """Make, measure and publish the approximate graph of a version.

    Args:
        folder: of the version.
        fitting: rows that the sketch is fitted to, and the estimate of what is not scored; as many of them as 4,096.
        tuning: other rows, that choose how many cells are probed.
        held_out: other rows again, that the graph is judged on.
        dimensions: of the sketch.
        seed: of the sketch's rotation and of the cells.
        limit_ms: milliseconds that one row may take in the session, by its median.

    Returns:
        The folder of the new version.

    Raises:
        Refusal: the version is broken, approximate already or has no plain last layer; it finds less than 99 % of the
            exact top 5, is not faster, or is above the limit.
    """
    manifest = manifest_module.load(folder)
    if manifest.is_approximate:
        raise Refusal(folder, "head.approximate", expected="an exact version", found="an approximate one")
    if manifest.head is not None and manifest.head.name not in LINEAR:
        expected = f"a last layer that is h·W + b ({', '.join(sorted(LINEAR))})"
        raise Refusal(folder, "head.name", expected=expected, found=manifest.head.name)
    content = repository.read_verified(folder, manifest, MODEL_FILE)
    exact = onnx.load_from_string(content)
    session = answers.session(content)
    chosen = _tensors(manifest, _first(tuning))
    layer = _layer(exact, manifest, session, chosen, folder)
    examples = _hidden(exact, layer, _tensors(manifest, _evenly(fitting, _FITTING_ROWS)))
    sketch = sketches.make(layer, examples, dimensions, seed=seed)
    cells = Cells(cells_module.cut(sketch.weight.astype(np.float32), _SIZE, seed=seed), sketch)
    k = min(_ANSWERED, manifest.answered)
    probed = _probed(cells, _hidden(exact, layer, chosen), _run(session, manifest, chosen).indices, k)
    above = graph_module.growth(layer, cells, examples, probed=probed)
    model = graph_module.build(exact, layer, cells, above, probed=probed, k=k)
    found = _measure(session, answers.session(model), manifest, _tensors(manifest, _first(held_out)), content)
    measured = Approximate(cells=len(cells.members), probed=probed, dimensions=sketch.weight.shape[1], **found)
    _check(measured, folder, limit_ms)
    return _publish(folder, manifest, model, layer, measured)


def of_run(folder: Path, run: Run, *, dimensions: int = DIMENSIONS, seed: int = 0, limit_ms: float = LIMIT_MS) -> Path:
    """The same with the training, the validation and the test rows of a run's data.

    Raises:
        Refusal: as `export`; data that does not fit the version's inputs.
    """
    schema = manifest_module.load(folder).inputs
    dataset = recode(sources.read(run.data, text_length=run.texts.max_length), schema, where=folder)
    splits = dataset.train, dataset.validation, dataset.test
    return export(folder, *splits, dimensions=dimensions, seed=seed, limit_ms=limit_ms)


def lines(folder: Path) -> list[str]:
    """The figures of an approximate version for a person."""
    manifest = manifest_module.load(folder)
    assert manifest.head is not None  # noqa: S101  # `export` has made it
    found = manifest.head.approximate
    assert found is not None  # noqa: S101
    return [
        f"{manifest.name} version {manifest.version}: {found.probed} of {found.cells:,} cells, on {found.rows:,} rows",
        f"recall@{found.k} {found.recall_at_k:.4f}",
        f"log partition {found.log_partition_error:.4f} nats off on average, {found.log_partition_worst:.4f} at worst",
        f"one row in {found.p50_ms:.3f} ms, the exact graph in {found.exact_p50_ms:.3f} ms (medians)",
    ]


def _tensors(manifest: Manifest, split: Split) -> dict[str, npt.NDArray[Any]]:
    rows = columns.tensors(manifest.inputs, split, slice(0, len(split)))
    return {schema.name: one.numpy() for schema, one in zip(manifest.inputs, rows, strict=True)}


def _first(split: Split) -> Split:
    return split.take(np.arange(min(len(split), _ROWS)))


def _evenly(split: Split, count: int) -> Split:
    return split.take(np.linspace(0, len(split) - 1, min(len(split), count)).astype(np.int64))


def _layer(
    exact: onnx.ModelProto,
    manifest: Manifest,
    session: onnxruntime.InferenceSession,
    tensors: Tensors,
    folder: Path,
) -> Layer:
    """The last layer after temperature, which a graph may apply to what enters it or to what it gives."""
    found = layers.find(exact, manifest.classes, where=folder)
    hidden = _hidden(exact, found, tensors)[:16]
    expected = _run(session, manifest, _rows(tensors, slice(0, 16))).log_partition
    for temperature in (1.0, manifest.temperature):
        layer = Layer(found.hidden, found.weight / np.float32(temperature), found.bias / np.float32(temperature))
        partition = _log_sum(hidden @ layer.weight.T + layer.bias)
        if np.abs(partition - expected).max() <= _SAME:
            return layer
    raise Refusal(folder, "graph", expected="logits that are h·W + b", found="other ones")


def _rows(tensors: Tensors, rows: slice) -> Tensors:
    return {name: tensor[rows] for name, tensor in tensors.items()}


def _hidden(exact: onnx.ModelProto, layer: Layer, tensors: Tensors) -> Floats:
    part = layers.pruned(exact, [layers.value(layer.hidden, "N", layer.weight.shape[1])])
    (found,) = answers.session(part.SerializeToString()).run([layer.hidden], dict(tensors))
    return np.asarray(found, dtype=np.float32)


def _log_sum(scores: Floats) -> npt.NDArray[np.float64]:
    highest = scores.max(axis=1, keepdims=True).astype(np.float64)
    return np.asarray((highest + np.log(np.exp(scores - highest).sum(axis=1, keepdims=True)))[:, 0])


def _run(session: onnxruntime.InferenceSession, manifest: Manifest, tensors: Tensors) -> Top:
    """All rows, a few at a time; of a graph that gives every class, the same figures of them."""
    rows = len(next(iter(tensors.values())))
    parts = [_top(session, manifest, _rows(tensors, slice(start, start + 32))) for start in range(0, rows, 32)]
    return Top(
        np.concatenate([one.indices for one in parts]),
        np.concatenate([one.probabilities for one in parts]),
        np.concatenate([one.log_partition for one in parts]),
    )


def _top(session: onnxruntime.InferenceSession, manifest: Manifest, tensors: Tensors) -> Top:
    names = [one.name for one in session.get_outputs()]
    if TOP_OUTPUTS[0] in names:
        return Top(*session.run(list(TOP_OUTPUTS), dict(tensors)))
    logits, probabilities = session.run(["logits", "probabilities"], dict(tensors))
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :_ANSWERED]
    partition = _log_sum(logits / np.float32(manifest.temperature)).astype(np.float32)
    return Top(order, np.take_along_axis(probabilities, order, axis=1), partition)


def _probed(cells: Cells, hidden: Floats, best: Indices, k: int) -> int:
    """The fewest cells that hold enough of the exact top 5, and k classes whichever they are."""
    wanted = np.concatenate(
        [
            _ranks(cells, hidden[start : start + _BLOCK], best[start : start + _BLOCK, :RECALL_K])
            for start in range(0, len(hidden), _BLOCK)
        ]
    )
    enough = int(np.quantile(wanted, RECALL + _MARGIN, method="higher")) + 1
    held = np.cumsum(np.sort(cells.sizes))
    least = int(np.searchsorted(held, min(max(k, _LEAST_SCORED), held[-1]))) + 1
    return min(max(enough, least), max(least, len(cells.sizes) // _MOST_PROBED))


def _ranks(cells: Cells, hidden: Floats, wanted: Indices) -> Indices:
    """How many cells rank before those of these classes: int64 [N, k]."""
    scores = cells.scores(hidden)
    theirs = np.take_along_axis(scores, cells.of_class[wanted], axis=1)
    return np.stack([(scores > column[:, None]).sum(axis=1) for column in theirs.T], axis=1)


def _measure(
    exact: onnxruntime.InferenceSession,
    model: onnxruntime.InferenceSession,
    manifest: Manifest,
    tensors: Tensors,
    content: bytes,
) -> dict[str, Any]:
    """Both graphs on the same rows."""
    ours, theirs = _run(model, manifest, tensors), _run(exact, manifest, tensors)
    k = min(RECALL_K, theirs.indices.shape[1])
    pairs = zip(ours.indices[:, :k].tolist(), theirs.indices[:, :k].tolist(), strict=True)
    recall = float(np.mean([len(set(found) & set(expected)) / k for found, expected in pairs]))
    rows = len(ours.indices)
    model_ms, exact_ms = _medians((model, exact), tensors, min(rows, _TIMED_ROWS))
    off = np.abs(ours.log_partition - theirs.log_partition)
    return {
        "k": k,
        "recall_at_k": recall,
        "log_partition_error": float(off.mean()),
        "log_partition_worst": float(off.max()),
        "p50_ms": model_ms,
        "exact_p50_ms": exact_ms,
        "rows": rows,
        "exact": files_module.record(content).sha256,
    }


def _medians(sessions: Sequence[onnxruntime.InferenceSession], tensors: Tensors, rows: int) -> list[float]:
    """Milliseconds of one row in each session. They take turns, a block of rows each, which leaves caches to one."""
    times: list[list[float]] = [[] for _ in sessions]
    for start in range(0, rows, _BLOCK):
        for session, found in zip(sessions, times, strict=True):
            found += [_milliseconds(session, tensors, row) for row in range(start, min(start + _BLOCK, rows))]
    return [statistics.median(one) for one in times]


def _milliseconds(session: onnxruntime.InferenceSession, tensors: Tensors, row: int) -> float:
    feed = dict(_rows(tensors, slice(row, row + 1)))
    began = time.perf_counter()
    session.run(None, feed)
    return 1000 * (time.perf_counter() - began)


def _check(measured: Approximate, folder: Path, limit_ms: float) -> None:
    if measured.recall_at_k < RECALL:
        found = f"{measured.recall_at_k:.4f}, with {measured.probed} of {measured.cells:,} cells"
        raise Refusal(folder, f"recall@{measured.k}", expected=f"at least {RECALL}", found=found)
    if measured.p50_ms >= measured.exact_p50_ms:
        expected = f"less than the exact graph's {measured.exact_p50_ms:.3f} ms"
        raise Refusal(folder, "p50", expected=expected, found=f"{measured.p50_ms:.3f} ms")
    if measured.p50_ms > limit_ms:
        found = (
            f"{measured.p50_ms:.3f} ms, with {measured.probed} of {measured.cells:,} cells for recall@{measured.k} "
            f"{measured.recall_at_k:.4f}; the exact graph takes {measured.exact_p50_ms:.3f} ms"
        )
        raise Refusal(folder, "p50", expected=f"at most {limit_ms:g} ms (--limit-ms)", found=found)


def _publish(folder: Path, manifest: Manifest, model: bytes, layer: Layer, measured: Approximate) -> Path:
    instances = [one.instance for one in manifest.golden]
    golden = _top(answers.session(model), manifest, inputs.tensors(manifest.inputs, instances))
    source = manifest.model_dump(mode="json", exclude={"seal", "labels_file"})
    head = source["head"] or {"name": "full", "width": layer.weight.shape[1]}
    # What was fitted on every class's probability, or on the exact one, is not promised by another graph.
    changed = {"conformal": None, "abstention": None, "novelty": None, "outputs": list(TOP_OUTPUTS)}

    def write(place: Path, version: int) -> None:
        (place / MODEL_FILE).write_bytes(model)
        document = {
            **source,
            **changed,
            "version": version,
            "head": {**head, "approximate": measured.model_dump(mode="json")},
            "files": {MODEL_FILE: files_module.record(model).model_dump()},
            "golden": _golden(instances, golden),
        }
        manifest_module.write(place, document)

    return Repository(folder.resolve().parent.parent).publish(manifest.name, write)


def _golden(instances: Sequence[Any], found: Top) -> list[dict[str, Any]]:
    columns_found = (found.indices.tolist(), found.probabilities.tolist(), found.log_partition.tolist())
    return [
        {"instance": instance, **dict(zip(TOP_OUTPUTS, row, strict=True))}
        for instance, row in zip(instances, zip(*columns_found, strict=True), strict=True)
    ]
