"""Only files cross between the halves, and the numbers survive: train → export → serve → the same probabilities."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest
import torch

from clipmax import manifest
from clipmax.manifest import MODEL_FILE
from clipmax.novelty import p_values
from tests.service.running import Running, command, serving
from tests.training import tiny
from training import answers, calibration, loop, run, runtime
from training.config import Run
from training.data.dataset import Dataset
from training.loop import Progress
from training.model import Calibrated


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the real command has trained and published."""
    place = tmp_path_factory.mktemp("contract")
    tiny.write(place)
    result = tiny.train(place)
    assert result.returncode == 0, result.stderr
    return place


@pytest.fixture(scope="module")
def reference(folder: Path) -> tuple[Dataset, Calibrated]:
    """The same run in this process's torch, calibrated as training calibrates."""
    settings, dataset = tiny.dataset(folder)
    progress = _fit(settings, dataset)
    progress.model.load_state_dict(progress.best_weights)
    logits = loop.logits_of(progress.model, dataset, dataset.validation)
    temperature = calibration.fit_temperature(logits, dataset.validation.labels)
    return dataset, Calibrated(progress.model, temperature).eval()


def _fit(settings: Run, dataset: Dataset) -> Progress:
    runtime.prepare(settings.threads)
    progress = run.start(settings, dataset)
    loop.fit(progress, settings, dataset)
    torch.set_flush_denormal(False)  # torch takes it by position only; a run switches it on
    return progress


@pytest.fixture(scope="module")
def service(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The real service on the models folder that training wrote."""
    with serving(folder / "models", tmp_path_factory.mktemp("service")) as running:
        yield running


def _ask(service: Running, images: tiny.Array) -> tiny.Array:
    body = {"instances": images.tolist(), "parameters": {"probabilities": True}}
    answer = httpx.post(f"{service.url}/v1/models/tiny:predict", json=body, timeout=30)
    assert answer.status_code == 200, service.log.read_text()
    words = "0123456789"
    rows = []
    for prediction in answer.json()["predictions"]:
        found = prediction["probabilities"]
        rows.append([found[word] for word in words] if isinstance(found, dict) else found)
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_http_onnxruntime_and_torch_give_the_same_probabilities(
    rows: int, folder: Path, service: Running, reference: tuple[Dataset, Calibrated]
) -> None:
    """HTTP equals onnxruntime exactly; onnxruntime equals torch within 1e-5."""
    dataset, calibrated = reference
    images = dataset.test.columns["image"][:rows]
    served = _ask(service, images)
    session = onnxruntime.InferenceSession(folder / "models" / "tiny" / "1" / MODEL_FILE)
    alone = np.concatenate([_run(session, images[row : row + 1]) for row in range(rows)])
    together = _run(session, images)
    exact = [np.array_equal(served, found) for found in (alone, together)]
    assert any(exact), float(np.abs(served - together).max())
    with torch.no_grad():
        _, expected = calibrated(torch.from_numpy(images))
    assert np.abs(together - expected.numpy()).max() <= 1e-5


def _run(session: onnxruntime.InferenceSession, images: tiny.Array) -> tiny.Array:
    found: tiny.Array = session.run(["probabilities"], {"image": images.astype(np.float32)})[0]
    return found


def test_http_and_offline_give_the_same_novelty(folder: Path, service: Running) -> None:
    """Score and p-value, bit for bit, and in V2 the score as a tensor."""
    version = folder / "models" / "tiny" / "1"
    found = manifest.load(version)
    _, dataset = tiny.dataset(folder)
    offline = answers.answer(answers.session((version / MODEL_FILE).read_bytes()), dataset.inputs, dataset.test)
    assert offline.novelty is not None
    assert found.novelty is not None
    images = dataset.test.columns["image"][:100].tolist()
    body = {"instances": images, "parameters": {"novelty": True}}
    rows = httpx.post(f"{service.url}/predict", json=body, timeout=30).json()["predictions"]
    assert [np.float32(row["novelty"]["score"]) for row in rows] == offline.novelty[:100].tolist()
    assert [row["novelty"]["p_value"] for row in rows] == p_values(found.novelty, offline.novelty[:100]).tolist()
    tensor = {"name": "image", "datatype": "FP32", "shape": [100, 8, 8], "data": images}
    body = {"inputs": [tensor], "outputs": [{"name": "novelty"}]}
    (output,) = httpx.post(f"{service.url}/v2/models/tiny/infer", json=body, timeout=30).json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("FP32", [100])
    assert np.array_equal(np.array(output["data"], dtype=np.float32), offline.novelty[:100])


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return command(*arguments)


def test_verify_accepts_what_training_published(folder: Path) -> None:
    """A version, a model, a whole models folder."""
    for path in (folder / "models" / "tiny" / "1", folder / "models" / "tiny", folder / "models"):
        result = _command("verify", str(path))
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("ok ")


def test_inspect_shows_what_training_published(folder: Path) -> None:
    """Name, version and labels for people."""
    result = _command("inspect", str(folder / "models" / "tiny" / "1"))
    assert result.returncode == 0, result.stderr
    for word in ("tiny", "accuracy", "temperature"):
        assert word in result.stdout
