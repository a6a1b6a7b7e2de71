"""The page of a service that asks for an API key."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.service.playground import models
from tests.service.playground.conftest import watched
from tests.service.playground.test_page import LABEL
from tests.service.playground.test_try_it_out import execute
from tests.service.running import Running, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KEY = "a-key-of-a-test"


@contextmanager
def behind_a_key(models_folder: Path, folder: Path) -> Iterator[Running]:
    """The same models, for whoever has the key in the folder's file `keys`."""
    keys = folder / "keys"
    keys.write_text(line_of(KEY))
    flags = ("--default-model", "flowers", "--api-keys-file", str(keys), "--watch-seconds", "0.1")
    with serving(models_folder, folder, *flags) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(page_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests that leave its key as it is."""
    with behind_a_key(page_models, tmp_path_factory.mktemp("guarded")) as running:
        yield running


def line_of(key: str) -> str:
    """Of the file of keys."""
    return f"somebody:{hashlib.sha256(key.encode()).hexdigest()}\n"


def wait_for(running: Running, event: str) -> None:
    """Until it stands in the service's log; bounded."""
    for _ in range(200):
        if any(one["event"] == event for one in running.events()):
            return
        time.sleep(0.05)
    raise AssertionError(f"no {event} in the log")


def give(page: Page, address: str, key: str) -> None:
    """Open a page and give it a key."""
    page.goto(address)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use it").click()


@pytest.fixture
def guarded_page(chromium: Browser, guarded: Running) -> Iterator[Page]:
    """An empty tab."""
    yield from watched(chromium, guarded.url)


def test_it_asks_for_a_key_and_keeps_it_in_memory_only(guarded_page: Page) -> None:
    """A wrong one is refused, the right one works, is not shown in the code, and a new visit asks again."""
    page = guarded_page
    give(page, "/", "wrong")
    page.wait_for_selector("text=This key was not accepted")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Use it").click()
    page.wait_for_selector(".verdict .label")
    code = page.locator("#code code").inner_text()
    assert "$CLIPMAX_API_KEY" in code
    assert KEY not in page.content()
    assert KEY not in str(
        page.evaluate("() => [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]")
    )
    page.reload()
    page.wait_for_selector("text=This service asks for a key")


def test_a_key_that_is_changed_is_asked_for_again_and_nothing_is_lost(
    chromium: Browser, page_models: Path, tmp_path: Path
) -> None:
    """What was typed stands there with its answer."""
    with behind_a_key(page_models, tmp_path) as running:
        for page in watched(chromium, running.url):
            give(page, "/#tickets", KEY)
            page.fill("textarea", "I lost my card")
            page.wait_for_selector(LABEL)
            (tmp_path / "keys").write_text(line_of("another"))
            wait_for(running, "keys read")
            page.fill("textarea", "I have lost my card")
            page.wait_for_selector("text=This key was not accepted")
            page.get_by_label("API key").fill("another")
            page.get_by_role("button", name="Use it").click()
            page.wait_for_selector(LABEL)
            assert page.locator("textarea").input_value() == "I have lost my card"


def test_with_the_key_the_report_can_be_saved(guarded_page: Page, tmp_path: Path) -> None:
    """A link could not carry it."""
    page = guarded_page
    give(page, "/#mnist", KEY)
    with page.expect_download() as download:
        page.get_by_role("button", name="Training report of version 1").click()
    assert download.value.suggested_filename == "mnist-1-report.html"
    download.value.save_as(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == (models.ROOT / "models/mnist/1/report.html").read_bytes()


def test_the_interface_asks_for_a_key_and_can_be_tried_out_with_it(guarded_page: Page) -> None:
    """`/docs`: a wrong key is refused, the right one opens the document and goes with requests; nothing is stored."""
    page = guarded_page
    give(page, "/docs", "wrong")
    page.wait_for_selector("text=This key was not accepted")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Use it").click()
    page.wait_for_selector(".opblock-post")
    assert page.locator("#key-form").is_hidden()
    assert page.locator(".auth-wrapper .authorize.locked").count() == 1
    assert execute(page, "/v1/models/flowers:predict") == "200"
    stored = "() => [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie]"
    assert KEY not in str(page.evaluate(stored))
    page.reload()
    page.wait_for_selector("text=This service asks for a key")


def test_the_interface_asks_for_a_key_in_chinese(guarded_page: Page) -> None:
    """Where Chinese was chosen on the playground; also that a key was wrong."""
    page = guarded_page
    page.goto("/")
    page.get_by_role("button", name="中文").click()
    page.goto("/docs")
    page.wait_for_selector("text=此服务需要密钥")
    assert page.locator("#key-form").get_attribute("lang") == "zh-Hans"
    page.get_by_label("API 密钥").fill("wrong")
    page.get_by_role("button", name="使用").click()
    page.wait_for_selector("text=此密钥未被接受。")


def test_axe_finds_nothing_where_the_interface_asks_for_a_key(guarded_page: Page, axe: str) -> None:
    """The form is ours; what Swagger UI draws is not."""
    guarded_page.goto("/docs")
    guarded_page.wait_for_selector("#key-form:not([hidden])")
    guarded_page.evaluate(axe)
    run = "async () => (await axe.run('#key-form')).violations.map(one => one.id + ': ' + one.nodes[0].html)"
    assert guarded_page.evaluate(run) == []
