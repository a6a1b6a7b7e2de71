"""API keys, from their file to the answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipmax.problems import Problem
from clipmax.refusal import Refusal
from service.app import create_app
from service.auth import KeyFile, Keys
from service.settings import Settings
from tests import artifacts
from tests.service.running import Running, exchange, post, serving
from tests.service.test_contract_errors import MARKER, check

GOOD = json.dumps({"instances": artifacts.rows(1)}).encode()
KEY, OTHER = "k-first-0123456789", "k-second-9876543210"


def line(name: str, key: str) -> str:
    return f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(f"# who may ask\n\n{line('first', KEY)}\n{line('second', OTHER)}\n")
    return path


@pytest.fixture(scope="module")
def guarded(models: Path, keys_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that asks for a key."""
    folder = tmp_path_factory.mktemp("guarded")
    with serving(models, folder, "--max-header-bytes", "20000", CLIPMAX_API_KEYS_FILE=str(keys_file)) as running:
        yield running


@pytest.mark.parametrize(
    "header",
    [f"Authorization: Bearer {KEY}", f"authorization: bearer {OTHER}", f"X-API-Key: {KEY}", f"X-API-Key: {OTHER}"],
)
def test_an_accepted_key_opens(guarded: Running, header: str) -> None:
    """Any of the keys, in either header."""
    assert exchange(guarded, post("/predict", GOOD, "Content-Type: application/json", header)).status == 200


@pytest.mark.parametrize(
    "header",
    [
        "X-Nothing: 1",
        f"Authorization: Bearer {MARKER}",
        "Authorization: Bearer",
        "Authorization: Bearer ",
        f"Authorization: Basic {KEY}",
        f"X-API-Key: {KEY[:-1]}",
        f"X-API-Key: {KEY}x",
        "X-API-Key: ",
        f"X-API-Key: {line('first', KEY)}",
        "X-API-Key: " + "7731" * 250_000,
        "Authorization: Bearer " + "7731" * 250_000,
    ],
    ids=range(11),
)
def test_no_key_and_any_wrong_key_are_refused_alike(guarded: Running, header: str) -> None:
    """401 with the way to sign in; a key of a megabyte is not even kept."""
    answer = exchange(guarded, post("/predict", GOOD, "Content-Type: application/json", header))
    check(answer, "AUTH")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("parameter", ["api_key", "key", "X-API-Key", "access_token", "Authorization"])
def test_a_key_in_the_query_is_not_read(guarded: Running, parameter: str) -> None:
    """It would be in every log on the way."""
    check(exchange(guarded, post(f"/predict?{parameter}={KEY}", GOOD)), "AUTH")


@pytest.mark.parametrize(
    "path", ["/v1/models/tiny", "/v1/models/none", "/openapi.json", "/nothing", "/playground/models.json"]
)
def test_every_other_path_asks_too(guarded: Running, path: str) -> None:
    """Whoever is not known does not learn what there is."""
    check(exchange(guarded, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()), "AUTH")


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_health_stays_open(guarded: Running, path: str) -> None:
    """Probes hold no keys."""
    assert exchange(guarded, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).status == 200


def test_huge_headers_of_a_known_caller_are_what_they_are(guarded: Running) -> None:
    """431, because the key came first."""
    headers = ("Content-Type: application/json", f"X-API-Key: {KEY}", "X: " + "7" * 50_000)
    check(exchange(guarded, post("/predict", GOOD, *headers)), "HEADERS_TOO_LARGE")


@pytest.mark.parametrize(
    "content", ["", "# nobody\n", "first\n", "first:abc\n", f"first:{'A' * 64}\n", "first:plain-key\n", f":{'a' * 64}"]
)
def test_a_file_that_is_no_list_of_keys_is_refused(tmp_path: Path, content: str) -> None:
    """An empty one too: it would lock everybody out, which nobody means."""
    path = tmp_path / "keys"
    path.write_text(content)
    with pytest.raises(Refusal, match="keys"):
        Keys.read(path)


def test_a_missing_file_of_keys_ends_the_start(tmp_path: Path) -> None:
    """An open service must not come of a typing error."""
    with pytest.raises(Refusal, match="a readable file of API keys"):
        create_app(Settings.read({"CLIPMAX_API_KEYS_FILE": str(tmp_path / "none")}))


def test_every_digest_is_compared(keys_file: Path) -> None:
    """The first that fits does not end the comparison, and the right key is let in without a sound."""
    keys = Keys.read(keys_file)
    assert len(keys.digests) == 2
    keys.check({b"x-api-key": KEY.encode()})
    with pytest.raises(Problem, match="AUTH"):
        keys.check({})


def test_the_file_of_keys_is_followed(tmp_path: Path) -> None:
    """A new key opens, a removed one does not; half a file changes nothing."""
    path = tmp_path / "keys"
    path.write_text(line("first", KEY))
    followed = KeyFile(path)
    path.write_text(line("second", OTHER) + "\n")
    followed.refresh()
    assert followed.keys.accept({b"x-api-key": OTHER.encode()})
    assert not followed.keys.accept({b"x-api-key": KEY.encode()})
    for content in ("", "second:12", f"{line('first', KEY)}\nsecond"):
        path.write_text(content)
        followed.refresh()
        assert followed.keys.accept({b"x-api-key": OTHER.encode()})
    path.unlink()
    followed.refresh()
    assert followed.keys.accept({b"x-api-key": OTHER.encode()})


def test_the_document_says_which_headers_a_key_goes_in(guarded: Running) -> None:
    """So that `/docs` and generated clients send it; health needs none."""
    request = f"GET /openapi.json HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n"
    document = exchange(guarded, request.encode()).document
    schemes = document["components"]["securitySchemes"]
    assert {one["type"] for one in schemes.values()} == {"http", "apiKey"}
    assert [set(one) for one in document["security"]] == [{name} for name in schemes]
    assert document["paths"]["/v2/health/ready"]["get"]["security"] == []


def test_the_page_of_the_interface_is_open(guarded: Running) -> None:
    """It says nothing of the models, and asks for a key itself."""
    assert exchange(guarded, b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n").status == 200
