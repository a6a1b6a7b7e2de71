"""A trained version of 100,000 classes over HTTP: are its exact answers exact, and are its approximate ones close?

    python bench/many_classes/pieces.py --data SHARED_DATA --classes 100000 FOLDER
    cd FOLDER && clipmax train run.toml && clipmax export --approximate models/pieces-100000/1 run.toml
    python bench/many_classes/served.py FOLDER     # writes the table into docs/many_classes.md

Asks both versions for the five most probable classes of test rows, one request a row. Beside them stand those that the
same weights give in double precision: for the exact version, how far the served probabilities and the reference's of
all other classes are from 1 together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import onnx
import polars as pl
import torch

from bench import page
from clipmax import inputs, manifest
from clipmax.manifest import MODEL_FILE, Manifest
from clipmax.repository import Repository
from tests.service.running import serving
from training import answers
from training.approximate import layer

DOCUMENT = page.ROOT / "docs" / "many_classes.md"
NAME, TOP_K, ROWS = "pieces-100000", 5, 500

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Reference:
    """In double precision: float64 [N, K], the probabilities of all classes."""

    probabilities: npt.NDArray[np.float64]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """Of one version: largest distance of a sum from 1, share of the reference's top 5, milliseconds of a request."""

    version: int
    is_approximate: bool
    distance: float
    recall: float
    milliseconds: float


def main() -> None:
    """Both versions, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with the task's files and models/")
    folder: Path = parser.parse_args().folder
    rows = pl.read_parquet(folder / "test.parquet").drop("next").head(ROWS).to_dicts()
    models = folder / "models"
    exact, approximate = Repository(models).versions(NAME)[-2:]
    reference = refer(models / NAME / str(exact), rows)
    with (
        tempfile.TemporaryDirectory() as place,
        serving(models, Path(place), "--versions", "latest:2") as running,
        httpx.Client(base_url=running.url, timeout=30) as http,
    ):
        found = [ask(http, models, version, rows, reference) for version in (exact, approximate)]
    lines = _table(found, manifest.load(models / NAME / str(approximate)))
    print("\n".join(lines))
    page.write(DOCUMENT, "bench/many_classes/served.py", "\n".join(lines))


def refer(folder: Path, rows: Rows) -> Reference:
    """The exact version's hidden values, and its last layer in numpy."""
    found = manifest.load(folder)
    model = onnx.load(folder / MODEL_FILE)
    last = layer.find(model, found.classes, where=folder)
    part = layer.pruned(model, [layer.value(last.hidden, "N", last.weight.shape[1])])
    (hidden,) = answers.session(part.SerializeToString()).run([last.hidden], inputs.tensors(found.inputs, rows))
    logits = torch.from_numpy(hidden).double() @ torch.from_numpy(last.weight).double().T + torch.from_numpy(last.bias)
    return Reference(torch.softmax(logits, dim=1).numpy(), found.labels)


def ask(http: httpx.Client, models: Path, version: int, rows: Rows, reference: Reference) -> Found:
    """One request a row, one after the other."""
    numbers = {label: number for number, label in enumerate(reference.labels)}
    distances, recalls, times = [], [], []
    for row, expected in zip(rows, reference.probabilities, strict=True):
        started = time.perf_counter()
        top = _post(http, f"/v1/models/{NAME}/versions/{version}:predict", row)
        times.append(1e3 * (time.perf_counter() - started))
        named = [numbers[one["label"]] for one in top]
        rest = 1.0 - expected[named].sum()
        distances.append(abs(sum(one["probability"] for one in top) + rest - 1.0))
        recalls.append(len(set(named) & set(np.argsort(-expected)[:TOP_K].tolist())) / TOP_K)
    is_approximate = manifest.load(models / NAME / str(version)).is_approximate
    return Found(version, is_approximate, max(distances), statistics.mean(recalls), statistics.median(times))


def _post(http: httpx.Client, url: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    body = json.dumps({"instances": [row], "parameters": {"top_k": TOP_K}}).encode()
    answer = http.post(url, content=body, headers={"Content-Type": "application/json"}).raise_for_status()
    top: list[dict[str, Any]] = answer.json()["predictions"][0]["top"]
    return top


def _table(found: list[Found], approximate: Manifest) -> list[str]:
    assert approximate.metrics is not None
    assert approximate.head is not None
    assert approximate.data is not None
    measured = approximate.head.approximate
    assert measured is not None
    session = {False: measured.exact_p50_ms, True: measured.p50_ms}
    about = (
        f"{approximate.classes:,} classes, {approximate.data.rows['train']:,} training rows; exact log loss "
        f"{approximate.metrics.log_loss:.3f}, top-1 {approximate.metrics.accuracy:.1%} on the test split. "
        f"{ROWS:,} requests of one row each; the approximate graph scores {measured.probed} of {measured.cells:,} "
        "cells."
    )
    judged = (
        f"On {measured.rows:,} test rows in the session: recall@5 {measured.recall_at_k:.4f}, the logarithm of the "
        f"partition sum {measured.log_partition_error:.4f} off on average."
    )
    lines = [
        f"| {'approximate' if one.is_approximate else 'exact'} | {one.recall:.4f} | {one.distance:.1e} "
        f"| {one.milliseconds:.2f} ms | {session[one.is_approximate]:.3f} ms |"
        for one in found
    ]
    heads = "| version | recall@5 over HTTP | sum with the rest, furthest from 1 | request | in the session |"
    return [about, "", heads, "|---|--:|--:|--:|--:|", *lines, "", f"Times are medians. {judged}"]


if __name__ == "__main__":
    main()
