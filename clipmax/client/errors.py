"""What kept a client from its predictions: one class for each thing that a caller would do differently.

ClientError
├── ServerError     the service answered with an error: code, status, detail, pointer, request_id, retryable
├── Unreachable     no answer: refused, broken off, timed out, or not ready in time
└── AnswerInvalid   an answer came that is none of ours, so something else listens there
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

_RETRIED_STATUSES = frozenset({429, 503})
"""Where a document does not say whether to try again, a proxy's own for example."""

_INSTANCE = re.compile(r"/instances/(\d{1,9})(?:/|$)")


class ClientError(Exception):
    """Anything that kept a client from getting its predictions."""


class ServerError(ClientError):
    """An answer that is an error, read from its problem document (RFC 9457).

    An answer without such a document, from a proxy say, has the code "HTTP_" and its status. `first_row` is the number,
    in the whole call, of the request's first row: a call of many rows is cut into several requests.
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
        first_row: int = 0,
    ) -> None:
        where = f" at {pointer}" if pointer else ""
        part = f" in the request that begins with row {first_row}" if first_row else ""
        super().__init__(f"{code} ({status}){where}{part}: {detail}")
        self.code = code
        self.status = status
        self.detail = detail
        self.pointer = pointer
        self.request_id = request_id
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds
        self.first_row = first_row

    @property
    def row(self) -> int | None:
        """The number of the row in the call that is at fault, counted from 0; None where it is not one row."""
        match = _INSTANCE.match(self.pointer)
        return None if match is None else self.first_row + int(match[1])


class Unreachable(ClientError):
    """No answer came. `retryable` where the connection failed and not the service's time ran out."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class AnswerInvalid(ClientError):
    """The answer says 200 and is not a prediction answer."""


def server_error(response: httpx.Response, *, first_row: int = 0) -> ServerError:
    """An answer that is not 200, typed."""
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
        first_row=first_row,
    )


def answer_invalid(response: httpx.Response) -> AnswerInvalid:
    """An answer that another program must have given."""
    return AnswerInvalid(f"{response.url} does not answer as a clipmax service does")


def unreachable(url: str, error: httpx.TransportError) -> Unreachable:
    """A connection that gave no answer."""
    broken = isinstance(error, httpx.NetworkError | httpx.ConnectTimeout | httpx.RemoteProtocolError)
    what = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
    return Unreachable(f"{url}: {what}", retryable=broken)


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
