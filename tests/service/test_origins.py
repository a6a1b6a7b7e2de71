"""CORS, which is off unless it is set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.load import BODY, HEADERS
from tests.service.running import serving
from tests.service.test_auth import KEY, line

OURS, OTHER = "https://shop.example", "https://evil.example"
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}


def cors(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control")}


@pytest.fixture(scope="module")
def shared(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a service that asks for keys and lets one origin in."""
    folder = tmp_path_factory.mktemp("origins")
    (folder / "keys").write_text(line("one", KEY))
    flags = ("--cors-origins", OURS, "--api-keys-file", str(folder / "keys"))
    with serving(models, folder, *flags) as running, httpx.Client(base_url=running.url) as client:
        yield client


def test_without_the_setting_no_page_may_ask(http: httpx.Client) -> None:
    """Neither before nor after."""
    assert not cors(http.options("/predict", headers={"Origin": OURS, **ASKS}))
    assert not cors(http.post("/predict", content=BODY, headers={"Origin": OURS, **HEADERS}))


def test_an_origin_of_ours_may_ask_and_read(shared: httpx.Client) -> None:
    """The question before needs no key, the request itself does; errors can be read too."""
    before = shared.options("/predict", headers={"Origin": OURS, **ASKS})
    assert before.status_code == 204
    assert before.headers["access-control-allow-origin"] == OURS
    assert "x-api-key" in before.headers["access-control-allow-headers"]
    assert "POST" in before.headers["access-control-allow-methods"]
    refused = shared.post("/predict", content=BODY, headers={"Origin": OURS, **HEADERS})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, OURS)
    answer = shared.post("/predict", content=BODY, headers={"Origin": OURS, "X-API-Key": KEY, **HEADERS})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, OURS)
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert answer.headers["vary"] == "Origin"


def test_another_origin_is_answered_without_leave(shared: httpx.Client) -> None:
    """The browser then keeps the answer from the page; caches hear that it depends on the origin."""
    before = shared.options("/predict", headers={"Origin": OTHER, **ASKS})
    assert (before.status_code, cors(before)) == (204, {})
    answer = shared.post("/predict", content=BODY, headers={"Origin": OTHER, "X-API-Key": KEY, **HEADERS})
    assert (answer.status_code, cors(answer), answer.headers["vary"]) == (200, {}, "Origin")


def test_a_star_lets_every_page_ask(models: Path, tmp_path: Path) -> None:
    """Without credentials, which the service does not know."""
    with serving(models, tmp_path, CLIPMAX_CORS_ORIGINS="*") as running:
        answer = httpx.post(f"{running.url}/predict", content=BODY, headers={"Origin": OTHER, **HEADERS})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
