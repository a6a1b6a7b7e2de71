"""`/docs` in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_every_question_can_be_tried_out_as_it_stands(page: Page) -> None:
    """Open, press Execute, read 200: of each model by its name, in V1 and V2, and of the paths for any model."""
    page.goto("/docs")
    page.wait_for_selector(".opblock-post")
    operations = page.locator(".opblock-post").all()
    paths = []
    for operation in operations:
        paths.append(operation.locator(".opblock-summary-path").inner_text().replace("\u200b", ""))
        operation.locator(".opblock-summary-control").click()
        operation.locator("button.execute").click()
        status = operation.locator(".live-responses-table td.response-col_status").nth(1)  # below the head
        status.wait_for()
        assert status.inner_text().split()[0] == "200", paths[-1]
        operation.locator(".opblock-summary-control").click()
    own = {f"/v1/models/{name}:predict" for name in ("mnist", "tickets", "flowers")}
    assert own | {"/predict", "/v1/models/{name}:predict", "/v2/models/mnist/infer"} <= set(paths)
