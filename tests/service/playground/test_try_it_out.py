"""`/docs` in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page


def execute(docs: Page, path: str) -> str:
    """Open a POST operation, press Execute, and read the status."""
    operation = docs.locator(".opblock-post").filter(has=docs.locator(f'[data-path="{path}"]'))
    operation.locator(".opblock-summary-control").click()
    operation.locator("button.execute").click()
    status = operation.locator(".live-responses-table td.response-col_status").nth(1)  # below the head
    status.wait_for()
    found = status.inner_text().split()[0]
    operation.locator(".opblock-summary-control").click()
    return found


@pytest.fixture
def docs(page: Page) -> Page:
    """The page with its list of operations."""
    page.goto("/docs")
    page.wait_for_selector(".opblock-post")
    return page


def test_every_kind_of_question_can_be_tried_out_as_it_stands(docs: Page) -> None:
    """Open, press Execute, read 200: an image, a text and a row, by the names of the models, in V1 and in V2."""
    for path in ("/v1/models/mnist:predict", "/v1/models/tickets:predict", "/v1/models/flowers:predict",
                 "/v1/models/colors:predict", "/v1/models/many:predict",
                 "/v2/models/tickets/infer", "/v2/models/flowers/infer"):  # fmt: skip
        assert execute(docs, path) == "200", path


def test_without_keys_there_is_nothing_to_authorize(docs: Page) -> None:
    """Neither a form for one nor a lock."""
    assert docs.locator("#key-form").is_hidden()
    assert docs.locator(".authorize").count() == 0
