"""A URL and a key → the options of an httpx client, and the paths of a service."""

from __future__ import annotations

from typing import TypedDict
from urllib.parse import quote, urlsplit

import httpx

READY_PATH = "/v2/health/ready"
SERVER_PATH = "/v2"
JSON = "application/json"

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_CONNECT_SECONDS = 5.0


class Options(TypedDict):
    """What both kinds of httpx client take."""

    base_url: str
    headers: dict[str, str]
    timeout: httpx.Timeout
    trust_env: bool


def options(url: str, api_key: str | None, timeout_seconds: float) -> Options:
    headers = {"Accept": JSON}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    timeout = httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_SECONDS))
    # A proxy from the environment cannot reach this machine's own loopback for us.
    trust_env = urlsplit(url).hostname not in _LOOPBACK
    return {"base_url": checked_url(url), "headers": headers, "timeout": timeout, "trust_env": trust_env}


def checked_url(url: str) -> str:
    """The service's URL.

    Raises:
        ValueError: not an http or https URL with a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"expected a URL such as http://127.0.0.1:8000, got {url!r}")
    return url


def predict_path(model: str | None, version: int | str | None) -> str:
    """Of the V1 protocol. Raises ValueError for a version without a model."""
    if model is None:
        check_version(model, version)
        return "/predict"
    return f"/v1/models/{_address(model, version)}:predict"


def model_path(model: str, version: int | str | None) -> str:
    """Of a model's metadata in the Open Inference Protocol."""
    return f"{SERVER_PATH}/models/{_address(model, version)}"


def check_version(model: str | None, version: int | str | None) -> None:
    if model is None and version is not None:
        raise ValueError("a version needs the name of its model")


def _address(model: str, version: int | str | None) -> str:
    versions = "" if version is None else f"/versions/{quote(str(version), safe='')}"
    return f"{quote(model, safe='')}{versions}"
