"""One model for all training tests: trained and published once by the real command, and the same weights in torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings as hypothesis_settings

from clipmax import manifest as manifest_module
from clipmax.manifest import MODEL_FILE, Manifest
from tests.training import tiny
from training import loop, run, runtime
from training.config import Run
from training.data.dataset import Dataset
from training.loop import Progress
from training.model import Calibrated

# A slow machine is no failure.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _torch() -> Iterator[None]:
    """One thread; and what a run switches on for its process, denormals as zeros, is off again for other tests."""
    torch.set_num_threads(1)
    yield
    torch.set_flush_denormal(False)  # torch takes it by position only


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version's folder that `clipmax train` has published; not to be changed."""
    folder = tmp_path_factory.mktemp("artifact")
    tiny.write(folder)
    result = tiny.train(folder)
    assert result.returncode == 0, result.stderr
    return folder / "models" / "tiny" / "1"


@pytest.fixture(scope="session")
def manifest(artifact: Path) -> Manifest:
    """Its manifest."""
    return manifest_module.load(artifact)


@pytest.fixture(scope="session")
def graph(artifact: Path) -> bytes:
    """Its model.onnx."""
    return (artifact / MODEL_FILE).read_bytes()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Dataset, Progress]:
    """The same run in this process, up to its last epoch; not to be changed."""
    settings, dataset = tiny.dataset(tmp_path_factory.mktemp("trained"))
    runtime.prepare(settings.threads)
    progress = run.start(settings, dataset)
    loop.fit(progress, settings, dataset)
    return settings, dataset, progress


@pytest.fixture(scope="session")
def calibrated(trained: tuple[Run, Dataset, Progress], manifest: Manifest) -> Calibrated:
    """The module that was exported, in evaluation mode."""
    _, _, progress = trained
    progress.model.load_state_dict(progress.best_weights)
    return Calibrated(progress.model, manifest.temperature).eval()
