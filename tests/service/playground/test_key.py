"""The page of a service that asks for an API key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.service.playground.conftest import watched
from tests.service.running import Running, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KEY = "a-key-of-a-test"


@pytest.fixture
def guarded(page_models: Path, tmp_path: Path) -> Iterator[Running]:
    """The same models behind a key."""
    keys = tmp_path / "keys"
    keys.write_text(f"somebody:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    with serving(page_models, tmp_path, "--default-model", "flowers", "--api-keys-file", str(keys)) as running:
        yield running


@pytest.fixture
def guarded_page(chromium: Browser, guarded: Running) -> Iterator[Page]:
    """An empty tab."""
    yield from watched(chromium, guarded.url)


def test_it_asks_for_a_key_and_keeps_it_in_memory_only(guarded_page: Page) -> None:
    """A wrong one is refused, the right one works, is not shown in the code, and a new visit asks again."""
    page = guarded_page
    page.goto("/")
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Use it").click()
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
