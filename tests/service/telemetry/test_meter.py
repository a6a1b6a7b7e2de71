"""What a run adds to the counts of its version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from clipmax import manifest as manifests
from clipmax.manifest import Manifest
from service.outputs import Full, Outputs
from service.telemetry import layout, metric
from service.telemetry.meter import Labels, Meter
from tests import artifacts


@dataclass
class Run:
    """As `service.answer.Results` is."""

    outputs: Outputs
    remarks: dict[tuple[str, str], Any] = field(default_factory=dict)
    is_finite: bool = True


def _manifest(labels: int = 3, **members: Any) -> Manifest:
    words = [f"label {index}" for index in range(labels)]
    content = artifacts.model(1, labels=labels).SerializeToString()
    document = artifacts.document_of(content, name="tiny", version=1, labels=words, **members)
    return manifests.parse(manifests.dump(manifests.seal(document)), where="manifest.json")


def _reference(labels: int = 3) -> dict[str, Any]:
    """With a mean pixel about as random images have it."""
    quantiles = np.linspace(60, 200, 13).tolist()
    shares = [round(1 / labels, 6)] * labels
    return {
        "rows": 1000,
        "predicted": shares,
        "top_probability": [0.05] * 20,
        "inputs": {
            "image": {"kind": "numbers", "of": "mean pixel", "missing": 0.0, "mean": 127.0, "quantiles": quantiles}
        },
    }


def _run(probabilities: np.ndarray) -> Run:
    values = probabilities.astype(np.float32)
    return Run(Full(logits=np.log(np.maximum(values, 1e-30)), probabilities=values))


def _cell() -> np.ndarray:
    return np.zeros(layout.CELL)


def test_rows_one_by_one_are_counted_as_rows_in_one_run() -> None:
    """Whether they are counted together, in several parts, or not yet until somebody reads."""
    found = _manifest(reference=_reference(), abstention=artifacts.ABSTENTION)
    probabilities = np.random.default_rng(0).dirichlet([0.2] * 3, 100)
    images = np.random.default_rng(1).integers(0, 256, (100, 4, 4)).astype(np.float32)
    assert images.nbytes > 4096
    single, whole = _cell(), _cell()
    meters = Meter(single, found, 1e9), Meter(whole, found, 1e9)
    for row in range(100):
        meters[0].ran(_run(probabilities[row : row + 1]), {"image": images[row : row + 1]}, 0.001, lasts=row % 2 == 0)
        assert meters[0].is_due is (row % 40 >= 31)
        if row % 40 == 39:
            meters[0].settle()
    meters[1].ran(_run(probabilities), {"image": images}, 0.001, lasts=True)
    meters[0].settle()
    images[:] = 0.0  # those of a large run are neither kept nor looked at again
    meters[1].settle()
    for block in ("labels", "confidence", "entropy", "remarks", "windows"):
        view = layout.VERSION.view
        np.testing.assert_allclose(view(single, block), view(whole, block), rtol=1e-5, err_msg=block)
    assert layout.VERSION.view(whole, "labels").sum() == 100
    top = probabilities.astype(np.float32).max(axis=1)
    remarks = layout.VERSION.view(whole, "remarks")
    assert remarks[layout.REMARKS.index(metric.SATURATED)] == (top > 0.999).sum() > 0
    assert remarks[layout.REMARKS.index(metric.ABSTAINED)] == (top.astype(np.float64) < 0.6).sum() > 0


@pytest.mark.parametrize("rows", [2, 20])
def test_rows_that_are_not_finite_are_counted_as_that_and_nothing_else(rows: int) -> None:
    """The others of their run as ever."""
    cell = _cell()
    run = _run(np.tile([0.7, 0.2, 0.1], (rows, 1)))
    assert isinstance(run.outputs, Full)
    run.outputs.probabilities[0, 1] = np.nan
    run.is_finite = False
    meter = Meter(cell, _manifest(), 1800)
    meter.ran(run, {}, 0.001, lasts=True)
    meter.settle()
    remarks = layout.VERSION.view(cell, "remarks")
    assert remarks[layout.REMARKS.index(metric.NON_FINITE)] == 1
    assert layout.VERSION.view(cell, "labels").sum() == rows - 1
    assert np.isfinite(cell).all()


def test_of_many_labels_the_most_frequent_are_counted_by_themselves() -> None:
    """Fifty of two hundred; all others together."""
    shares = np.zeros(200)
    shares[100:150] = 0.02
    reference = _reference(200) | {"predicted": shares.tolist()}
    found = _manifest(200, reference=reference)
    assert Labels(found).shown == list(range(100, 150))
    cell = _cell()
    probabilities = np.eye(200)[[100, 149, 0, 199]]
    meter = Meter(cell, found, 1800)
    meter.ran(_run(probabilities), {"image": np.zeros((4, 4, 4), np.float32)}, 0.001, lasts=True)
    meter.settle()
    labels = layout.VERSION.view(cell, "labels")
    assert (labels[0], labels[49], labels[50]) == (1, 1, 2)


def test_a_window_begins_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies there is of the one before last."""
    cell = _cell()
    meter = Meter(cell, _manifest(reference=_reference()), 10)
    for moment in (5.0, 15.0, 25.0):
        monkeypatch.setattr("time.time", lambda now=moment: now)
        meter.ran(_run(np.eye(3)), {"image": np.zeros((3, 4, 4), np.float32)}, 0.001, lasts=True)
        meter.settle()
    windows = layout.VERSION.view(cell, "windows")
    assert windows[:, 0].tolist() == [2, 1]
    assert windows[:, 1 : 1 + layout.LABELS + 1].sum(axis=1).tolist() == [3, 3]
