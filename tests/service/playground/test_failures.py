"""What the page says when things go wrong, with a real service in each of these states."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.service.playground.conftest import watched
from tests.service.playground.test_page import LABEL, choose
from tests.service.running import Running, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FAILURE = "() => document.querySelector('.failure')?.innerText ?? null"
RETRY = "Try again"
LIMIT_BYTES = 65536


@pytest.fixture(scope="module")
def copied(page_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts and flowers in a folder of this module's own."""
    root = tmp_path_factory.mktemp("copied")
    for name in ("tickets", "flowers"):
        shutil.copytree(page_models / name, root / name)
    return root


@pytest.fixture(scope="module")
def bounded(copied: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with small bounds, asked for a GPU that is not there."""
    bounds = ("--max-body-bytes", str(LIMIT_BYTES), "--max-client-rows", "64")
    provider = ("--provider", "cuda", "--provider-policy", "prefer")
    with serving(copied, tmp_path_factory.mktemp("bounded"), "--watch-seconds", "0.1", *bounds, *provider) as running:
        yield running


@pytest.fixture
def bounded_page(chromium: Browser, bounded: Running) -> Iterator[Page]:
    """An empty tab."""
    yield from watched(chromium, bounded.url)


@contextmanager
def flooding(url: str) -> Iterator[None]:
    """Somebody at the same address asks as much as is taken at a time, without a pause."""
    question = {"instances": ["Where is the card that I ordered?"] * 64}
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not stop.is_set():
                client.post("/v1/models/tickets:predict", json=question)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("size", [2 * LIMIT_BYTES, 2_000_000], ids=["a little", "by far"])
def test_too_long_a_text_is_told_to_be_shortened(bounded_page: Page, size: int) -> None:
    """413, read although the service does not wait for the rest of the body; a shorter text is answered."""
    choose(bounded_page, "tickets")
    bounded_page.fill("textarea", "card " * (size // 5))
    bounded_page.wait_for_selector(".failure:has-text('Too much at once')")
    assert "Shorten it." in bounded_page.locator(".failure").inner_text()
    bounded_page.fill("textarea", "card")
    bounded_page.wait_for_selector(LABEL)


def test_a_busy_service_says_so_and_is_asked_again_when_it_said(bounded_page: Page, bounded: Running) -> None:
    """429; nobody needs to press anything."""
    choose(bounded_page, "tickets")
    found = None
    with flooding(bounded.url):
        for turn in range(400):
            bounded_page.fill("textarea", f"card {turn}")
            bounded_page.wait_for_timeout(40)
            found = bounded_page.evaluate(FAILURE)
            if found:
                break
    assert found is not None
    assert "The service is busy" in found
    assert "This page tries again by itself in 2 s." in found
    bounded_page.wait_for_selector(LABEL)


def test_a_service_that_is_degraded_says_so_at_once(bounded_page: Page) -> None:
    """Before anything is asked, in both languages, and beside the answer."""
    choose(bounded_page, "flowers")
    place = bounded_page.locator("#degraded")
    assert place.inner_text().startswith("Degraded: cuda was asked for")
    bounded_page.wait_for_selector(".facts .degraded:has-text('cpu')")
    bounded_page.get_by_role("button", name="中文").click()
    bounded_page.wait_for_function("() => document.querySelector('#degraded').textContent.startsWith('已降级')")


def test_a_service_that_is_not_degraded_does_not(page: Page) -> None:
    """The place for it is empty."""
    choose(page, "flowers")
    page.wait_for_selector(LABEL)
    assert page.locator("#degraded").is_hidden()


@contextmanager
def nothing_behind(port: int) -> Iterator[None]:
    """What stands in front of a service answers for it, as it does while that starts: 503, to be asked in a second."""

    class Front(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(HTTPStatus.SERVICE_UNAVAILABLE)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<h1>503 Service Temporarily Unavailable</h1>")

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name it has there
            """Nothing on the tests' output."""

    with ThreadingHTTPServer(("127.0.0.1", port), Front) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_a_service_that_is_gone_and_comes_back(chromium: Browser, copied: Path, tmp_path: Path) -> None:
    """Gone, then 503, then there again: said in words, and asked by the page itself; what was typed stays."""
    with serving(copied, tmp_path) as first:
        tabs = watched(chromium, first.url)
        page = next(tabs)
        choose(page, "tickets")
        page.fill("textarea", "I lost my card")
        page.wait_for_selector(LABEL)
    page.fill("textarea", "I have lost my card")
    page.wait_for_selector(".failure:has-text('The service cannot be reached')")
    with nothing_behind(first.port):
        page.get_by_role("button", name=RETRY).click()
        page.wait_for_selector(".failure:has-text('The service is not available')")
        assert "It may be starting" in page.locator(".failure").inner_text()
        assert "This page tries again by itself in 4 s." in page.locator(".failure").inner_text()
    with serving(copied, tmp_path, "--port", str(first.port)):
        page.wait_for_selector(LABEL)
        assert page.locator("textarea").input_value() == "I have lost my card"
        assert next(tabs, None) is None


def test_the_page_itself_waits_for_a_service_that_has_gone(chromium: Browser, copied: Path, tmp_path: Path) -> None:
    """Another model is chosen meanwhile: that is told, and opened once the service is there."""
    with serving(copied, tmp_path) as first:
        tabs = watched(chromium, first.url)
        page = next(tabs)
        choose(page, "flowers")
        page.wait_for_selector(LABEL)
    page.get_by_label("Model", exact=True).select_option("tickets")
    page.wait_for_selector("#notice .failure:has-text('by itself in 2 s')")
    with serving(copied, tmp_path, "--port", str(first.port)):
        page.wait_for_selector("textarea")
        assert page.locator("#notice .failure").count() == 0
        assert next(tabs, None) is None


def test_a_model_that_is_taken_away_is_missed_in_words(chromium: Browser, copied: Path, tmp_path: Path) -> None:
    """404; whoever loads the page again, even by an address that no name can be read from, sees what there is."""
    models = shutil.copytree(copied, tmp_path / "models")
    with serving(models, tmp_path, "--watch-seconds", "0.1") as running:
        for page in watched(chromium, running.url):
            choose(page, "flowers")
            shutil.rmtree(models / "flowers")
            _wait_until_gone(running)
            page.get_by_label("petal width", exact=True).fill("1.5")
            page.wait_for_selector(".failure:has-text('No longer served')")
            page.goto("/?again#%E0%A4%A")
            page.wait_for_selector("#name:has-text('tickets')")


def _wait_until_gone(running: Running) -> None:
    """Until the service has seen the folder; bounded."""
    with httpx.Client(base_url=running.url) as client:
        for _ in range(200):
            if client.get("/v1/models/flowers").status_code == HTTPStatus.NOT_FOUND:
                return
            threading.Event().wait(0.05)
    raise AssertionError("it never went")
