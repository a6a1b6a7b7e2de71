"""The Host header, from the setting to the answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clipmax.problems import Problem
from service.hosts import Hosts
from tests.service.running import Running, exchange, serving
from tests.service.test_contract_errors import check

NAMES = ("api.example.com", "*.shop.example", "127.0.0.1", "[::1]")


@pytest.fixture(scope="module")
def named(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that answers to one name."""
    with serving(models, tmp_path_factory.mktemp("hosts"), CLIPMAX_TRUSTED_HOSTS="api.example.com") as running:
        yield running


@pytest.mark.parametrize(
    "host",
    ["api.example.com", "API.example.com:8000", "a.shop.example", "a.b.shop.example:", "127.0.0.1:80", "[::1]:80"],
)
def test_a_name_of_ours_passes(host: str) -> None:
    """With any port and in any case."""
    Hosts(NAMES).check({b"host": host.encode()})


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "xapi.example.com",
        "shop.example",
        "evilshop.example",
        "api.example.com.evil",
        "api.example.com:80:80",
    ],
)
def test_any_other_name_is_refused(host: str) -> None:
    """And so is none."""
    with pytest.raises(Problem, match="HOST_UNKNOWN"):
        Hosts(NAMES).check({b"host": host.encode()})
    with pytest.raises(Problem, match="HOST_UNKNOWN"):
        Hosts(NAMES).check({})


def test_a_wrong_host_is_told_nothing_else(named: Running) -> None:
    """But probes ask an address, so health stays open."""
    for path, host, status in (
        ("/v1/models/tiny", "evil.example", 400),
        ("/v1/models/tiny", "api.example.com", 200),
        ("/v2/health/ready", "10.0.0.7:8000", 200),
    ):
        answer = exchange(named, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert answer.status == status
        if status == 400:
            check(answer, "HOST_UNKNOWN")
