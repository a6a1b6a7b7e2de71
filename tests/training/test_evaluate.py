"""A published version is measured through the command, and says what its manifest says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from clipmax.manifest import Manifest
from clipmax.refusal import Refusal
from tests.training import tiny
from training import evaluate


def test_the_command_gives_the_figures_of_the_manifest(artifact: Path, manifest: Manifest, tmp_path: Path) -> None:
    """Bit for bit, as JSON and in words."""
    arguments = [*tiny.CLIPMAX, "evaluate", str(artifact), str(tiny.write(tmp_path))]
    assert manifest.metrics
    found = json.loads(subprocess.run([*arguments, "--json"], capture_output=True, check=True, text=True).stdout)
    assert found["test"]["metrics"] == found["manifest_metrics"] == manifest.metrics.model_dump(mode="json")
    assert found["same_data"] is True
    assert found["test"]["ece_noise_upper_fitted"] >= 0.9 * found["test"]["ece_noise_upper"]
    words = subprocess.run(arguments, capture_output=True, check=True, text=True).stdout
    assert "the manifest says the same metrics" in words
    assert f"tiny version 1 on {tiny.TEST_ROWS} test rows" in words


def test_other_rows_of_the_same_kind_are_measured_and_named(artifact: Path, tmp_path: Path) -> None:
    """Another test split: other figures, said to be of other data."""
    settings = tiny.read(tmp_path)
    images, labels, _, _ = tiny.arrays()
    (tmp_path / "test-images").write_bytes(tiny.idx_bytes(images[:50]))
    (tmp_path / "test-labels").write_bytes(tiny.idx_bytes(labels[:50]))
    found = evaluate.evaluate(artifact, settings)
    assert found.same_data is False
    assert found.test.ece_noise_upper_fitted is None
    assert found.test.metrics.rows == 50
    assert "of other data" in evaluate.lines(found)[0]


def test_data_that_does_not_fit_is_refused(artifact: Path, tmp_path: Path) -> None:
    """Other labels; other inputs."""
    words = json.dumps([f"digit {number}" for number in range(10)])
    with pytest.raises(Refusal, match="labels: expected"):
        evaluate.evaluate(artifact, tiny.read(tmp_path, f"data.labels={words}"))
    settings = tiny.read(tmp_path)
    for split in ("train", "test"):
        images = tiny.arrays()[0 if split == "train" else 2]
        (tmp_path / f"{split}-images").write_bytes(tiny.idx_bytes(images[:, 1:]))
    with pytest.raises(Refusal, match="input image: expected"):
        evaluate.evaluate(artifact, settings)
