"""A trained classifier → an artifact, once torch and onnxruntime agree. The only writer of artifacts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from clipmax import files
from clipmax import manifest as manifest_module
from clipmax.inputs import Input, Tensor, tensors
from clipmax.manifest import MODEL_FILE
from clipmax.origin import Origin
from clipmax.refusal import Refusal
from clipmax.repository import Repository
from training import answers, measurement, onnx_file, parity, probes, provenance, weights
from training.config import Run
from training.data.dataset import Dataset
from training.features import columns
from training.history import History
from training.loop import Progress
from training.many import measurement as many_measurement
from training.many.top import OUTPUTS as TOP_OUTPUTS
from training.many.top import Top
from training.model import Calibrated
from training.novelty import Scored
from training.report import build as report
from training.report import many, page

OUTPUTS = ("logits", "probabilities", "novelty")
"""Of the graph, in this order; the last one only where there is a score."""

_TOGETHER = 4 * 1024 * 1024
"""Logits that torch makes at once."""
_GOLDEN_ROWS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a run has ended with, ready to become an artifact."""

    run: Run
    dataset: Dataset
    fingerprint: str
    progress: Progress
    model: Calibrated
    findings: Sequence[str] = ()
    """What reading the data found worth saying, for the report."""
    origin: Origin | None = None
    """The version that the run went on from."""
    history: History | None = None
    """Of the search that the configuration is the winner of."""


def publish(finished: Finished) -> Path:
    """Export, check parity, write the manifest and make the next version visible; returns its folder.

    Raises:
        Refusal: a weight that is not finite, or torch and onnxruntime disagree. Nothing becomes visible then.
    """
    finished.model.eval()
    _check_weights(finished.model)
    graph = to_onnx(finished.model, finished.dataset)
    golden = _golden(finished)

    def write(folder: Path, version: int) -> None:
        path = folder / MODEL_FILE
        graph.write(path)
        onnx_file.check(path)
        check_parity(path, finished.model, finished.dataset)
        about = _found_top(finished, finished.model) if isinstance(finished.model, Top) else _found(finished, path)
        for name, content in about.pages(version).items():
            (folder / name).write_bytes(content)
        manifest_module.write(folder, _document(finished, about, version, golden, folder))

    repository = Repository(finished.run.models)
    try:
        return repository.publish(finished.run.name, write)
    except OSError as error:
        found = error.strerror or str(error)
        raise Refusal(repository.root, "models", expected="room and leave to write a version", found=found) from error


@dataclass(frozen=True, slots=True)
class _Found:
    """What the manifest and the report say of a model.

    Args:
        members: of the manifest.
        pages: version → file name → content of the report's files.
    """

    members: Mapping[str, Any]
    pages: Callable[[int], dict[str, bytes]]


def _found(finished: Finished, graph: Path) -> _Found:
    """By the graph's own answers, which hold all probabilities."""
    measured = measurement.measure(graph, finished.dataset, float(finished.model.temperature), finished.run)
    figures = report.build(report.Evidence(measured=measured, **_circumstances(finished)))
    members = {
        "metrics": measured.metrics.model_dump(mode="json"),
        "conformal": measured.conformal.model_dump(mode="json"),
        "abstention": measured.abstention.model_dump(mode="json"),
        "novelty": measured.novelty.model_dump(mode="json") if measured.novelty else None,
        "reference": measured.reference.model_dump(mode="json"),
    }
    return _Found(members, lambda version: page.files(figures.model_copy(update={"version": version})))


def _found_top(finished: Finished, model: Top) -> _Found:
    """By all logits, chunk by chunk: the graph answers the most probable classes only."""
    measured = many_measurement.measure(model, finished.dataset)
    figures = many.build(report.Circumstances(**_circumstances(finished)), measured)
    members = {
        "metrics": measured.metrics.model_dump(mode="json"),
        "head": measured.head.model_dump(mode="json"),
    }
    return _Found(members, lambda version: many.files(figures.model_copy(update={"version": version})))


def to_onnx(model: Calibrated, dataset: Dataset) -> onnx_file.Graph:
    """One self-contained ONNX file, once it is written: standard operators only, the batch axis free."""
    example = tuple(columns.tensors(dataset.inputs, dataset.test, slice(0, 2)))
    batch = torch.export.Dim("batch", min=1)
    graph = onnx_file.export(
        model,
        example,
        inputs=[f"input_{place}" for place in range(len(example))],
        outputs=outputs_of(model),
        free_axes=(tuple(_free_axes(schema, batch) for schema in dataset.inputs),),  # nested: *columns
    )
    _name(graph.skeleton, [schema.name for schema in dataset.inputs])
    weights.note_lost(graph.skeleton, model.classifier)
    return graph


def outputs_of(model: Calibrated) -> tuple[str, ...]:
    """The names of what a module gives, in its order."""
    if isinstance(model, Top):
        return TOP_OUTPUTS
    return OUTPUTS if isinstance(model, Scored) else OUTPUTS[:2]


def _free_axes(schema: Input, batch: torch.export.Dim) -> dict[int, Any]:
    """The batch, and every axis that the schema leaves open: the length of a text."""
    opened = [axis for axis, size in enumerate(schema.shape, start=1) if size == -1]
    return {0: batch} | dict.fromkeys(opened, torch.export.Dim.DYNAMIC)


def _name(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Give the inputs of a graph the columns' own names, any Unicode; the exporter alone would mangle some.

    Names of values are unique in a graph, so whatever inside it has a column's name gets another.
    """
    given = {value.name: name for value, name in zip(model.graph.input, names, strict=True)}
    taken = {name: f"{name}.inside" for name in names if name not in OUTPUTS}
    new_names = {**taken, **given}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.initializer):
        value.name = new_names.get(value.name, value.name)
    for node in model.graph.node:
        node.input[:] = [new_names.get(name, name) for name in node.input]
        node.output[:] = [new_names.get(name, name) for name in node.output]


def check_parity(model: bytes | Path, reference: Calibrated, dataset: Dataset) -> float:
    """Compare onnxruntime's probabilities and novelty with torch's, on test rows and on black, white and noisy input.

    Returns:
        The largest difference found.

    Raises:
        Refusal: a difference above 1e-5, another most probable class, or a result that is not finite.
    """
    session = answers.session(model)
    worst = 0.0
    for batch in parity.batches(len(dataset.labels)):
        for name, inputs in probes.columns(dataset, batch):
            names = outputs_of(reference)
            expected = _torch_outputs(reference, [inputs[schema.name] for schema in dataset.inputs])
            found = session.run(names, inputs)
            scale = _logit_scale(expected[2]) if isinstance(reference, Top) else 1.0
            for output, ours, theirs in list(zip(names, expected, found, strict=True))[1:]:
                what = f"{output} of {name}, batch {batch}"
                worst = max(worst, _compare((ours.T / scale).T, (theirs.T / scale).T, what))
            if isinstance(reference, Top):
                _compare_classes(expected, found, f"classes of {name}, batch {batch}")
    return worst


def _logit_scale(log_partition: Tensor) -> Tensor:
    """Of each row: logits of 50 are rounded fifty times as coarsely in float32 as those of 1, and answers with them."""
    return np.maximum(np.abs(log_partition), 1.0)


def _compare_classes(expected: Sequence[Tensor], found: Sequence[Tensor], what: str) -> None:
    """The most probable class is torch's, except where torch finds the next one as probable."""
    (classes, probabilities, _), (others, _, _) = expected, found
    close_call = probabilities[:, 0] - probabilities[:, 1] <= 2 * parity.TOLERANCE
    if not (close_call | (classes[:, 0] == others[:, 0])).all():
        raise Refusal(MODEL_FILE, f"parity on {what}", expected="the same classes", found="another one")


def _compare(expected: Tensor, found: Tensor, what: str) -> float:
    if not np.isfinite(found).all():
        raise Refusal(MODEL_FILE, f"parity on {what}", expected="finite numbers", found="NaN or infinity")
    difference = float(np.abs(expected - found).max())
    if not difference <= parity.TOLERANCE:  # so that a NaN of torch's is refused too
        raise Refusal(
            MODEL_FILE, f"parity on {what}", expected=f"at most {parity.TOLERANCE}", found=f"{difference:.3g}"
        )
    if expected.ndim == 1 or what.startswith(TOP_OUTPUTS[1]):  # no classes, or those of another output
        return difference
    close_call = np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2] <= 2 * parity.TOLERANCE
    if not (close_call | (expected.argmax(axis=1) == found.argmax(axis=1))).all():
        raise Refusal(MODEL_FILE, f"parity on {what}", expected="the same classes", found="another one")
    return difference


def _golden(finished: Finished) -> list[dict[str, Any]]:
    """Rows that try the graph, with torch's probabilities: what the service repeats before it serves."""
    dataset = finished.dataset
    instances = probes.instances(dataset)
    inputs = tensors(dataset.inputs, instances)
    found = _torch_outputs(finished.model, [inputs[schema.name] for schema in dataset.inputs])
    if isinstance(finished.model, Top):
        rows = zip(instances, *(output.tolist() for output in found), strict=True)
        return [dict(zip(("instance", *TOP_OUTPUTS), row, strict=True)) for row in rows]
    probabilities = found[1]
    return [
        {"instance": instance, "probabilities": row.tolist()}
        for instance, row in zip(instances, probabilities, strict=True)
    ]


def _document(
    finished: Finished,
    about: _Found,
    version: int,
    golden: Sequence[Mapping[str, Any]],
    folder: Path,
) -> dict[str, Any]:
    run, dataset, progress = finished.run, finished.dataset, finished.progress
    return {
        **provenance.members(
            run, version, files.records(folder), epochs=len(progress.epochs), best_epoch=progress.best_epoch
        ),
        "inputs": [schema.model_dump(mode="json") for schema in dataset.inputs],
        "outputs": list(outputs_of(finished.model)),
        "labels": list(dataset.labels),
        "temperature": float(finished.model.temperature),
        **about.members,
        "origin": finished.origin.model_dump(mode="json") if finished.origin else None,
        "search": finished.history.summary().model_dump(mode="json") if finished.history else None,
        "data": {
            "fingerprint": finished.fingerprint,
            "files": dict(dataset.files),
            "rows": {name: len(split) for name, split in dataset.splits.items()},
        },
        "golden": list(golden),
    }


def _circumstances(finished: Finished) -> dict[str, Any]:
    """What a report is computed from beside what was measured: the same figures that the manifest has."""
    return {
        "run": finished.run,
        "configuration": provenance.portable(finished.run),
        "dataset": finished.dataset,
        "fingerprint": finished.fingerprint,
        "epochs": finished.progress.epochs,
        "best_epoch": finished.progress.best_epoch,
        "temperature": float(finished.model.temperature),
        "line": finished.model.slope.line if finished.model.slope else None,
        "libraries": provenance.libraries(),
        "git_commit": provenance.git_commit(),
        "findings": finished.findings,
        "origin": finished.origin,
        "history": finished.history,
    }


def _check_weights(model: Calibrated) -> None:
    for name, value in model.state_dict().items():
        if value.numel() and not all(map(torch.isfinite, torch.aminmax(value))):  # a NaN is both; nothing is copied
            raise Refusal("export", name, expected="finite weights", found="NaN or infinity")


def _torch_outputs(model: Calibrated, columns: Sequence[Tensor]) -> list[npt.NDArray[np.float32]]:
    """Of very many classes a few rows at a time: torch makes five numbers of each logit."""
    tensors = [torch.from_numpy(np.ascontiguousarray(column)) for column in columns]
    head = model.classifier.head
    rows = len(tensors[0]) if head is None else max(1, _TOGETHER // head.classes)
    with torch.no_grad():
        parts = [model(*part) for part in zip(*(torch.split(tensor, rows) for tensor in tensors), strict=True)]
    return [torch.cat(outputs).numpy() for outputs in zip(*parts, strict=True)]
