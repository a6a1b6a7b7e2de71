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
    from playwright.sync_api import Browser, Page, ViewportSize

_AXE = models.ROOT / "tests" / "node_modules" / "axe-core" / "axe.min.js"
_CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""


DESK: ViewportSize = {"width": 1280, "height": 900}


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


@pytest.fixture(scope="package")
def tab(chromium: Browser, page_service: Running) -> Iterator[Tab]:
    """One tab for all tests of the shared service: a new one costs half a second each time."""
    context = chromium.new_context(locale="en-US", viewport=DESK, base_url=page_service.url)
    yield Tab(context.new_page(), page_service.url)
    context.close()


@pytest.fixture
def page(tab: Tab) -> Iterator[Page]:
    """A tab of a desk, in English, that remembers nothing."""
    tab.page.set_viewport_size(DESK)
    tab.page.emulate_media(color_scheme="null", reduced_motion="null")
    yield tab.page
    tab.leave()
    assert tab.faults_until_now() == []


def watched(chromium: Browser, url: str) -> Iterator[Page]:
    """A tab of its own whose requests, faults and complaints are looked at in the end."""
    context = chromium.new_context(locale="en-US", viewport=DESK, base_url=url)
    tab = Tab(context.new_page(), url)
    yield tab.page
    context.close()
    assert tab.faults_until_now() == []


class Tab:
    """A page that notes what must not be: a request to elsewhere, an error, a complaint.

    Args:
        page: an empty one.
        url: of the only host that may be asked.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url
        self._faults: list[str] = []
        self._protocol = page.context.new_cdp_session(page)
        page.on("request", lambda request: self._note(request.url))
        page.on("pageerror", lambda error: self._faults.append(str(error)))
        page.on("console", lambda line: self._faults.append(line.text) if _is_fault(line.type, line.text) else None)

    def _note(self, address: str) -> None:
        if not address.startswith((self._url, "blob:", "about:")):
            self._faults.append(address)

    def leave(self) -> None:
        """Go nowhere and forget everything; a page may be shut off from its own storage, so the browser is told."""
        self.page.goto("about:blank")
        self._protocol.send("Storage.clearDataForOrigin", {"origin": self._url, "storageTypes": "all"})

    def faults_until_now(self) -> list[str]:
        """And none of them again."""
        found, self._faults = self._faults, []
        return found


def _is_fault(kind: str, text: str) -> bool:
    """Chromium itself writes a line for every answer that is an error, which some tests want."""
    return kind in {"error", "warning"} and not text.startswith("Failed to load resource")


@pytest.fixture(scope="package")
def axe() -> str:
    """The script of axe-core."""
    if not _AXE.is_file():
        pytest.skip("axe-core is not there; npm install --no-save --prefix tests axe-core brings it")
    return _AXE.read_text(encoding="utf-8")
