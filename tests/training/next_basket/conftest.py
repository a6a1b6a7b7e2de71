"""One model of next baskets for all tests: what the command publishes of the example's sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipmax import cli
from clipmax import manifest as manifests
from clipmax.manifest import Manifest
from training import run_file
from training.config import EventSource

EXAMPLE = Path(__file__).parents[3] / "examples" / "online_retail" / "online_retail.toml"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version's folder; not to be changed."""
    models = tmp_path_factory.mktemp("models")
    assert cli.main(["train", str(EXAMPLE), "--set", f"models={models}"]) == cli.DONE
    return models / "online_retail" / "1"


@pytest.fixture(scope="session")
def manifest(folder: Path) -> Manifest:
    return manifests.load(folder)


@pytest.fixture(scope="session")
def purchases() -> EventSource:
    """The sample's columns and splits."""
    return purchases_of()


def purchases_of(*overrides: str) -> EventSource:
    """The same with other settings."""
    source = run_file.read(EXAMPLE, overrides).data
    assert isinstance(source, EventSource)
    return source
