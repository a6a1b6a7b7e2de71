"""One service, and one Chromium whose every page is watched: nothing may leave this host, fail or break the policy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.service.playground import models
from tests.service.running import Running, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_AXE = models.ROOT / "tests" / "node_modules" / "axe-core" / "axe.min.js"
_CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""


@pytest.fixture(scope="package")
def page_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models folder; not to be changed."""
    return models.publish(tmp_path_factory.mktemp("page_models"))


@pytest.fixture(scope="package")
def page_service(page_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of these models, the digits first."""
    with serving(
        page_models, tmp_path_factory.mktemp("page_service"), "--default-model", "mnist", "--versions", "all"
    ) as running:
        yield running


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """A real browser; only within this package, because it keeps an event loop in this thread."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not _CHROMIUM:
        pytest.skip("there is no chromium on the PATH, nor one named by CHROMIUM")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, page_service: Running) -> Iterator[Page]:
    """An empty tab of a desk, in English."""
    yield from watched(chromium, page_service.url)


def watched(chromium: Browser, url: str) -> Iterator[Page]:
    """A tab whose requests, faults and complaints are looked at in the end."""
    context = chromium.new_context(locale="en-US", viewport={"width": 1280, "height": 900}, base_url=url)
    page = context.new_page()
    faults: list[str] = []
    page.on("request", lambda request: None if request.url.startswith((url, "blob:")) else faults.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if _is_fault(line.type, line.text) else None)
    yield page
    context.close()
    assert faults == []


def _is_fault(kind: str, text: str) -> bool:
    """Chromium itself writes a line for every answer that is an error, which some tests want."""
    return kind in {"error", "warning"} and not text.startswith("Failed to load resource")


@pytest.fixture(scope="package")
def axe() -> str:
    """The script of axe-core."""
    if not _AXE.is_file():
        pytest.skip("axe-core is not there; npm install --no-save --prefix tests axe-core brings it")
    return _AXE.read_text(encoding="utf-8")
