"""One models folder and one service process for all tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import artifacts
from tests.service.running import Running, serving


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of the model `tiny`; not to be changed."""
    root = tmp_path_factory.mktemp("models")
    artifacts.publish(root)
    artifacts.publish(root)
    return root


@pytest.fixture(scope="session")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of `models` with small bounds."""
    bounds = ("--max-body-bytes", "300000", "--max-batch-rows", "100", "--max-header-bytes", "20000")
    times = ("--header-timeout-seconds", "1", "--body-timeout-seconds", "1.5", "--versions", "all")
    with serving(models, tmp_path_factory.mktemp("service"), *bounds, *times) as running:
        yield running


@pytest.fixture(scope="session")
def base_url(service: Running) -> str:
    """Where the service of all tests answers."""
    return service.url


@pytest.fixture
def http(base_url: str) -> Iterator[httpx.Client]:
    """A client of the service of all tests."""
    with httpx.Client(base_url=base_url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model of each kind of input: `tiny` with prediction sets, `table`, `text`; not to be changed."""
    root = tmp_path_factory.mktemp("kinds")
    artifacts.publish(root, conformal=artifacts.CONFORMAL, abstention=artifacts.ABSTENTION)
    artifacts.publish_table(root)
    artifacts.publish_text(root)
    return root


@pytest.fixture(scope="session")
def kinds_service(kinds: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of `kinds`."""
    bounds = ("--max-body-bytes", "300000", "--max-batch-rows", "100", "--default-model", "tiny")
    with serving(kinds, tmp_path_factory.mktemp("kinds_service"), *bounds) as running:
        yield running


@pytest.fixture
def kinds_http(kinds_service: Running) -> Iterator[httpx.Client]:
    """A client of the service of `kinds`."""
    with httpx.Client(base_url=kinds_service.url, timeout=30) as client:
        yield client
