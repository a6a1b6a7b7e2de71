"""What the manifest promises comes from the graph's own answers, on rows that nothing else was fitted on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clipmax.manifest import Manifest
from clipmax.repository import verify_files
from training import answers, calibration, conformal, measurement
from training.config import Run
from training.data.dataset import Dataset, halves
from training.loop import Progress
from training.report.figures import Report


def test_the_manifest_holds_what_the_graph_measures_bit_for_bit(
    graph: bytes, manifest: Manifest, trained: tuple[Run, Dataset, Progress]
) -> None:
    """Metrics, both conformal tables, abstention, novelty and reference, measured again from the published bytes."""
    found = measurement.measure(graph, trained[1], manifest.temperature, trained[0])
    assert found.metrics == manifest.metrics
    assert found.conformal == manifest.conformal
    assert found.abstention == manifest.abstention
    assert found.novelty == manifest.novelty
    assert found.reference == manifest.reference


def test_answers_do_not_depend_on_the_batch(graph: bytes, trained: tuple[Run, Dataset, Progress]) -> None:
    """One row at a time gives the same bits as all rows: so the service gives them too."""
    _, dataset, _ = trained
    session = answers.session(graph)
    together = answers.answer(session, dataset.inputs, dataset.test)
    for row in range(0, len(dataset.test), 17):
        alone = answers.answer(session, dataset.inputs, dataset.test.take(np.array([row])))
        assert np.array_equal(alone.probabilities[0], together.probabilities[row])
        assert alone.novelty is not None
        assert together.novelty is not None
        assert alone.novelty[0] == together.novelty[row]


def test_thresholds_come_from_rows_that_chose_nothing_else(
    manifest: Manifest, trained: tuple[Run, Dataset, Progress]
) -> None:
    """The second half of validation only, each row at the temperature that it had no part in."""
    _, dataset, _ = trained
    assert manifest.conformal is not None
    assert manifest.abstention is not None
    assert manifest.conformal.plain.rows == manifest.conformal.adaptive.rows == len(dataset.calibration)
    assert manifest.abstention.rows == len(dataset.calibration)
    assert manifest.novelty is not None
    assert manifest.novelty.rows == len(dataset.calibration)
    assert len(dataset.calibration) + len(dataset.selection) == len(dataset.validation)


def test_promises_are_fitted_apart(graph: bytes, manifest: Manifest, trained: tuple[Run, Dataset, Progress]) -> None:
    """The tables are those of leave-one-out temperatures, not of the one that is served."""
    _, dataset, _ = trained
    found = answers.answer(answers.session(graph), dataset.inputs, dataset.validation)
    second = halves(found.labels)[1]
    apart = calibration.apart(found.logits, found.labels, manifest.temperature)[second]
    assert manifest.conformal is not None
    assert manifest.conformal.plain == conformal.fit(apart, found.labels[second], method="plain")
    assert manifest.conformal.plain != conformal.fit(found.probabilities[second], found.labels[second], method="plain")


@pytest.mark.parametrize("name", ["report.html", "report.json"])
def test_the_report_is_published_and_covered_by_a_hash(artifact: Path, manifest: Manifest, name: str) -> None:
    """With its size; `verify` checks it."""
    assert manifest.files[name].bytes == (artifact / name).stat().st_size
    verify_files(artifact, manifest)


def test_the_report_says_what_the_manifest_says(artifact: Path, manifest: Manifest) -> None:
    """The same figures of the same version, and all epochs."""
    report = Report.model_validate_json((artifact / "report.json").read_bytes())
    assert (report.name, report.version) == (manifest.name, manifest.version)
    assert report.test.metrics == manifest.metrics
    assert report.temperature == manifest.temperature
    assert manifest.training
    assert len(report.epochs) == manifest.training.epochs
    assert json.loads((artifact / "report.json").read_bytes())["configuration"] == manifest.training.configuration
