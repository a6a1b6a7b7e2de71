"""A file of another tool → a published version, once a bound process has checked it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clipmax.manifest import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    MODEL_FILE,
    NAME_PATTERN,
    Manifest,
    dump,
    seal,
)
from clipmax.refusal import Refusal
from clipmax.repository import Repository
from training.adopt.child import Examined, examine
from training.adopt.limits import Limits
from training.adopt.request import Request
from training.data.dataset import Column, Indices
from training.data.labelled import Labelled

RISK = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be imported, and as what.

    Args:
        file: the ONNX file.
        name: of the model.
        models: the folder to publish to.
        labels: in the order of the file's classes.
        columns: their names, where the file has none.
        image: height and width, and 3 for rgb, of flat pixels.
        pixels: what 0 and 255 become for the model.
        output: of the file, where several fit.
        risk: chosen share of wrong answers, for the abstention threshold.
        data: "validation" and "test", where there are such rows.
        limits: of the process that runs the file.
    """

    file: Path
    name: str
    models: Path
    labels: tuple[str, ...]
    columns: tuple[str, ...] = ()
    image: tuple[int, ...] = ()
    pixels: tuple[float, float] | None = None
    output: str | None = None
    risk: float = RISK
    data: Mapping[str, Labelled]
    limits: Limits = field(default_factory=Limits)


def publish(order: Order) -> Path:
    """Check the file in a process of its own and publish the graph that was made of it; returns the version's folder.

    Raises:
        Refusal: with file, field, expected and found. Nothing becomes visible then.
    """
    if not re.match(NAME_PATTERN, order.name):
        raise Refusal("--name", "name", expected=f"a name like {NAME_PATTERN}", found=order.name)
    content = _content(order.file, order.limits)
    data = {name: _rows(rows, order) for name, rows in order.data.items()}
    examined = examine(content, _request(order), data, limits=order.limits, where=order.file)

    def write(folder: Path, version: int) -> None:
        (folder / MODEL_FILE).write_bytes(examined.graph)
        document = _document(order, content, examined, version)
        (folder / MANIFEST_FILE).write_bytes(dump(seal(document)))

    repository = Repository(order.models)
    try:
        return repository.publish(order.name, write)
    except OSError as error:
        found = error.strerror or str(error)
        raise Refusal(repository.root, "models", expected="room and leave to write a version", found=found) from error


def lines(manifest: Manifest, folder: Path) -> list[str]:
    """What has become of it, for a person."""
    imported = manifest.imported
    assert imported is not None  # noqa: S101  # it has just been written so
    metrics = manifest.metrics
    figures = (
        f"test: accuracy {metrics.accuracy:.4f}, log loss {metrics.log_loss:.4f}, "
        f"ECE {metrics.ece_uncalibrated:.4f} → {metrics.ece:.4f}"
        if metrics
        else "accuracy and calibration were not measured: no --test"
    )
    temperature = f"temperature {manifest.temperature:.3f}"
    fitted = f"{temperature}, fitted" if manifest.conformal else f"{temperature}, no thresholds: no --validation"
    return [
        f"the output {imported.output!r} holds {imported.scores}",
        *imported.changes,
        f"within {imported.difference:.2g} of the file's probabilities on {imported.probes:,} rows",
        fitted,
        figures,
        f"published {folder}",
    ]


def _content(path: Path, limits: Limits) -> bytes:
    try:
        size = path.stat().st_size
        if size > limits.file_bytes:
            raise Refusal(path, "file", expected=f"at most {limits.file_bytes} bytes", found=str(size))
        return path.read_bytes()
    except OSError as error:
        raise Refusal(path, "file", expected="a readable file", found=error.strerror or "an error") from error


def _columns(order: Order) -> tuple[str, ...]:
    """Those given, else a table's own, in its order."""
    tables = (rows.table.columns for rows in order.data.values() if rows.table is not None)
    return order.columns or tuple(next(tables, ()))


def _rows(rows: Labelled, order: Order) -> tuple[Column, Indices]:
    return rows.matrix(_columns(order)), rows.known_classes(order.labels)


def _request(order: Order) -> Request:
    return Request(
        labels=order.labels,
        columns=_columns(order),
        image=order.image,
        pixels=order.pixels,
        output=order.output,
        risk=order.risk,
        memory_bytes=order.limits.memory_bytes,
        cpu_seconds=order.limits.cpu_seconds,
        file_bytes=order.limits.file_bytes,
    )


def _document(order: Order, content: bytes, examined: Examined, version: int) -> dict[str, Any]:
    files = {name: digest for rows in order.data.values() for name, digest in rows.files.items()}
    digest = hashlib.sha256(content).hexdigest()
    return {
        **examined.outcome.members,
        "format_version": FORMAT_VERSION,
        "name": order.name,
        "version": version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "task": "classification",
        "outputs": ["logits", "probabilities"],
        "labels": list(order.labels),
        "label_metadata": {},
        "imported": {**examined.outcome.imported, "file": order.file.name, "sha256": digest, "files": files},
        "files": {MODEL_FILE: {"sha256": hashlib.sha256(examined.graph).hexdigest(), "bytes": len(examined.graph)}},
    }
