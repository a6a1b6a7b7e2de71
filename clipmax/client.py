"""Arrays or instances → typed predictions over HTTP, in a blocking and an asynchronous client.

    >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     (prediction,) = client.predict(digits[:1])
    ...     prediction.label, prediction.probability
    ('7', 0.9998)

Errors:

    ClientError
    ├── ServerError     the service answered with an error: code, status, detail, pointer, request_id, retryable
    ├── Unreachable     no answer: refused, broken off, timed out, or not ready in time
    └── AnswerInvalid   an answer came that is none of ours, so something else listens there
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict
from urllib.parse import quote, urlsplit

import httpx
import numpy as np
import numpy.typing as npt
import orjson

if TYPE_CHECKING:
    from clipmax.conformal import Method  # which brings pydantic, and a client needs none

Instances = npt.NDArray[Any] | Sequence[object]

_RETRIED_STATUSES = frozenset({429, 503})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_READY_PATH = "/v2/health/ready"
_POLL_SECONDS = 0.1
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TopLabel:
    """One of the likeliest labels."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one row.

    `top` holds the likeliest labels, likeliest first; `probabilities` and `logits` every label's value, in the
    model's order, where they were asked for. `out_of_range` says that the graph clipped a value of the row,
    `provider` which execution provider ran: cpu, cuda or tensorrt.

    `prediction_set` holds the labels of a coverage that was asked for, likeliest first, and `abstained` says whether
    the model had better not decide; each is None where it was not asked for. `unknown` names the inputs with a word
    that training never saw, `truncated` those with a text that was cut.
    """

    label: str
    probability: float
    top: tuple[TopLabel, ...]
    probabilities: dict[str, float] | None
    logits: dict[str, float] | None
    out_of_range: bool
    model: str
    version: int
    provider: str
    request_id: str
    prediction_set: tuple[str, ...] | None = None
    abstained: bool | None = None
    unknown: tuple[str, ...] = ()
    truncated: tuple[str, ...] = ()


class ClientError(Exception):
    """Anything that kept a client from getting its predictions."""


class ServerError(ClientError):
    """An answer that is an error, read from its problem document (RFC 9457).

    An answer without such a document, from a proxy say, has the code "HTTP_" and its status.
    """

    def __init__(
        self,
        *,
        code: str,
        status: int,
        detail: str,
        pointer: str = "",
        request_id: str = "",
        retryable: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        where = f" at {pointer}" if pointer else ""
        super().__init__(f"{code} ({status}){where}: {detail}")
        self.code = code
        self.status = status
        self.detail = detail
        self.pointer = pointer
        self.request_id = request_id
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds


class Unreachable(ClientError):
    """No answer came. `retryable` where the connection failed and not the service's time ran out."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class AnswerInvalid(ClientError):
    """The answer says 200 and is not a prediction answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When to try again: only after 429, 503 and broken connections, for prediction changes nothing.

    The pause is the service's `Retry-After`, else it doubles from 0.1 s, with jitter. No attempt starts after
    `attempts`, nor if its pause would end more than `total_seconds` after the first one began.
    """

    attempts: int = 4
    total_seconds: float = 30.0


class Client:
    """Blocking client; one may be shared by threads.

    Args:
        url: where the service listens, with or without a path prefix.
        api_key: sent as `Authorization: Bearer …`.
        timeout_seconds: longest silence of the service within one attempt.
        retry: when to try again.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        retry: Retry | None = None,
    ) -> None:
        self._url = url
        self._retry = retry or Retry()
        self._http = httpx.Client(**_options(url, api_key, timeout_seconds))

    def predict(
        self,
        instances: Instances,
        *,
        top_k: int | None = None,
        probabilities: bool = False,
        logits: bool = False,
        coverage: float | None = None,
        coverage_method: Method | None = None,
        abstain: bool = False,
        model: str | None = None,
        version: int | str | None = None,
    ) -> list[Prediction]:
        """Predictions for the rows, in their order.

        Args:
            instances: rows along the first axis, as an array or as JSON values such as nested lists or
                `{"b64": …}`. NaN in an array travels as null.
            top_k: how many of the likeliest labels to give; the service's choice if None.
            probabilities: give every label's probability.
            logits: give every label's logit, before temperature.
            coverage: give the labels among which the true one is in such a share of rows; 0 < coverage < 1.
            coverage_method: which scores; the service's choice, adaptive, if None.
            abstain: say of each row whether the model had better not decide.
            model: the service's default model if None.
            version: its number or an alias; the newest if None; needs `model`.

        Raises:
            ValueError: a version without a model, or an infinite number in the array.
            ClientError: see the tree at the top of this module.
        """
        path = _predict_path(model, version)
        content = _body(
            instances,
            top_k=top_k,
            probabilities=probabilities or None,
            logits=logits or None,
            coverage=coverage,
            coverage_method=coverage_method,
            abstain=abstain or None,
        )
        attempts = _Attempts(self._retry)
        while True:  # ends by `pause_after` at the latest
            try:
                return _predictions(self._post(path, content))
            except ClientError as error:
                time.sleep(attempts.pause_after(error))

    def is_ready(self) -> bool:
        """Whether the service answers and has a model ready."""
        try:
            return self._http.get(_READY_PATH).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def wait_until_ready(self, timeout_seconds: float = 30.0) -> None:
        """Return as soon as the service is ready.

        Raises:
            Unreachable: it was not within `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            _check_deadline(self._url, deadline, timeout_seconds)
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, path: str, content: bytes) -> httpx.Response:
        try:
            return self._http.post(path, content=content)
        except httpx.TransportError as error:
            raise _unreachable(self._url, error) from error


class AsyncClient:
    """Asynchronous client: `Client` with `await`; arguments, answers and errors are the same."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        retry: Retry | None = None,
    ) -> None:
        self._url = url
        self._retry = retry or Retry()
        self._http = httpx.AsyncClient(**_options(url, api_key, timeout_seconds))

    async def predict(
        self,
        instances: Instances,
        *,
        top_k: int | None = None,
        probabilities: bool = False,
        logits: bool = False,
        coverage: float | None = None,
        coverage_method: Method | None = None,
        abstain: bool = False,
        model: str | None = None,
        version: int | str | None = None,
    ) -> list[Prediction]:
        """See `Client.predict`."""
        path = _predict_path(model, version)
        content = _body(
            instances,
            top_k=top_k,
            probabilities=probabilities or None,
            logits=logits or None,
            coverage=coverage,
            coverage_method=coverage_method,
            abstain=abstain or None,
        )
        attempts = _Attempts(self._retry)
        while True:  # ends by `pause_after` at the latest
            try:
                return _predictions(await self._post(path, content))
            except ClientError as error:
                await asyncio.sleep(attempts.pause_after(error))

    async def is_ready(self) -> bool:
        """See `Client.is_ready`."""
        try:
            return (await self._http.get(_READY_PATH)).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    async def wait_until_ready(self, timeout_seconds: float = 30.0) -> None:
        """See `Client.wait_until_ready`."""
        deadline = time.monotonic() + timeout_seconds
        while not await self.is_ready():
            _check_deadline(self._url, deadline, timeout_seconds)
            await asyncio.sleep(_POLL_SECONDS)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _post(self, path: str, content: bytes) -> httpx.Response:
        try:
            return await self._http.post(path, content=content)
        except httpx.TransportError as error:
            raise _unreachable(self._url, error) from error


class _Attempts:
    """Counts the attempts of one call and says how long to pause before the next."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._made = 0
        self._deadline = time.monotonic() + retry.total_seconds

    def pause_after(self, error: ClientError) -> float:
        """Seconds until the next attempt; raises `error` where there is none."""
        self._made += 1
        if self._made >= self._retry.attempts or not _may_repeat(error):
            raise error
        pause = self._pause(error)
        if time.monotonic() + pause > self._deadline:
            raise error
        return pause

    def _pause(self, error: ClientError) -> float:
        if isinstance(error, ServerError) and error.retry_after_seconds is not None:
            return error.retry_after_seconds
        longest = min(_FIRST_PAUSE_SECONDS * 2.0 ** (self._made - 1), _LONGEST_PAUSE_SECONDS)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  # spreads clients over time, guards nothing


class _Options(TypedDict):
    base_url: str
    headers: dict[str, str]
    timeout: httpx.Timeout
    trust_env: bool


def _options(url: str, api_key: str | None, timeout_seconds: float) -> _Options:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
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


def _predict_path(model: str | None, version: int | str | None) -> str:
    if model is None:
        if version is not None:
            raise ValueError("a version needs the name of its model")
        return "/predict"
    versions = "" if version is None else f"/versions/{quote(str(version), safe='')}"
    return f"/v1/models/{quote(model, safe='')}{versions}:predict"


def _body(instances: Instances, **wanted: object) -> bytes:
    """None is what is left to the service."""
    parameters = {name: value for name, value in wanted.items() if value is not None}
    body = {"instances": _plain(instances), **({"parameters": parameters} if parameters else {})}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _plain(instances: Instances) -> Instances:
    """An array as orjson takes it: contiguous, in native byte order, without infinities (JSON has none)."""
    if not isinstance(instances, np.ndarray):
        return instances
    if instances.dtype.kind == "f" and np.isinf(instances).any():
        raise ValueError("the array holds an infinite number, which JSON cannot carry")
    return np.ascontiguousarray(instances, dtype=instances.dtype.newbyteorder("="))


def _predictions(response: httpx.Response) -> list[Prediction]:
    if response.status_code != httpx.codes.OK:
        raise _server_error(response)
    try:
        answer = orjson.loads(response.content)
        return [_prediction(row, answer) for row in answer["predictions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise AnswerInvalid(f"{response.url} does not answer as a clipmax service does") from error


def _prediction(row: Mapping[str, Any], answer: Mapping[str, Any]) -> Prediction:
    return Prediction(
        label=row["label"],
        probability=row["probability"],
        top=tuple(TopLabel(label=top["label"], probability=top["probability"]) for top in row["top"]),
        probabilities=row.get("probabilities"),
        logits=row.get("logits"),
        out_of_range=row["out_of_range"],
        model=answer["model"],
        version=answer["version"],
        provider=answer["provider"],
        request_id=answer["request_id"],
        prediction_set=tuple(row["prediction_set"]) if "prediction_set" in row else None,
        abstained=row.get("abstained"),
        unknown=tuple(row.get("unknown", ())),
        truncated=tuple(row.get("truncated", ())),
    )


def _server_error(response: httpx.Response) -> ServerError:
    status = response.status_code
    document = _problem_document(response)
    return ServerError(
        code=str(document.get("code", f"HTTP_{status}")),
        status=status,
        detail=str(document.get("detail", response.reason_phrase)),
        pointer=str(document.get("pointer", "")),
        request_id=str(document.get("request_id", "")),
        retryable=bool(document.get("retryable", status in _RETRIED_STATUSES)),
        retry_after_seconds=_retry_after(response.headers.get("Retry-After")),
    )


def _problem_document(response: httpx.Response) -> dict[str, Any]:
    try:
        document = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _retry_after(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header, which is a number of seconds or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _may_repeat(error: ClientError) -> bool:
    if isinstance(error, ServerError):
        return error.retryable and error.status in _RETRIED_STATUSES
    return isinstance(error, Unreachable) and error.retryable


def _unreachable(url: str, error: httpx.TransportError) -> Unreachable:
    broken = isinstance(error, httpx.NetworkError | httpx.ConnectTimeout | httpx.RemoteProtocolError)
    what = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
    return Unreachable(f"{url}: {what}", retryable=broken)


def _check_deadline(url: str, deadline: float, timeout_seconds: float) -> None:
    if time.monotonic() >= deadline:
        raise Unreachable(f"{url}: not ready within {timeout_seconds:g} s")
