"""The catalogue of errors that travel over HTTP: the service raises them, the client reads them.

One document is both an RFC 9457 problem and a valid Open Inference Protocol (V2) error. A detail says what
was expected and what was found by type, count or name of ours; it never repeats a value, path or class name
that the caller sent.

    >>> Problem("INPUT_SHAPE", "row 3 has 783 values, the model needs 784", pointer="/instances/3").kind.status
    422
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

_UNPROCESSABLE = 422
_BAD_REQUEST = 400


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the catalogue.

    `status` is the one of V1 and of every path outside `/v2`; V2 says 400 where V1 says 422 (`status_v2`).
    `retryable` tells a client whether the same request may succeed later.
    """

    code: str
    status: int
    title: str
    retryable: bool = False

    @property
    def status_v2(self) -> int:
        return _BAD_REQUEST if self.status == _UNPROCESSABLE else self.status

    @property
    def urn(self) -> str:
        return f"urn:clipmax:problem:{self.code.lower().replace('_', '-')}"


_KINDS = (
    # The bytes are not the message they claim to be.
    Kind("JSON_INVALID", 400, "The body is not valid JSON"),
    Kind("ENCODING", 400, "The body is not UTF-8 text"),
    Kind("DUPLICATE_KEY", 400, "An object has the same key twice"),
    Kind("DEPTH", 400, "The body is nested too deeply"),
    Kind("BINARY_FRAME", 400, "The binary part does not match what the JSON part says of it"),
    Kind("FRAMING", 400, "The message length is given in two ways"),
    Kind("HTTP_INVALID", 400, "The request is not valid HTTP"),
    Kind("HOST_UNKNOWN", 400, "The Host header is not one of ours"),
    Kind("HEADERS_TOO_LARGE", 431, "The request headers are too large"),
    Kind("MEDIA_TYPE", 415, "The media type is not supported"),
    Kind("CONTENT_ENCODING", 415, "The content encoding is not supported"),
    Kind("BODY_TOO_LARGE", 413, "The body is larger than the limit"),
    Kind("TIMEOUT_READ", 408, "The request did not arrive in time", retryable=True),
    # The message is well formed and means something that the model cannot take.
    Kind("TYPE", 422, "A value has the wrong type"),
    Kind("NUMBER_RANGE", 422, "A number does not fit the model's input type"),
    Kind("INPUT_SHAPE", 422, "Input shape does not match the model"),
    Kind("SHAPE_INVALID", 422, "A shape is not one, or not that of the data"),
    Kind("DATATYPE", 422, "The input does not take this datatype"),
    Kind("INPUT_NAME", 422, "An input is unknown, repeated or missing"),
    Kind("OUTPUT_NAME", 422, "An output is unknown or repeated"),
    Kind("NON_FINITE", 422, "A number is NaN or infinite"),
    Kind("EMPTY_BATCH", 422, "The batch has no rows"),
    Kind("BATCH_TOO_LARGE", 413, "The batch has more rows than the limit"),
    Kind("FIELD_MISSING", 422, "A required member is missing"),
    Kind("UNKNOWN_FIELD", 422, "A member is not known here"),
    Kind("PARAMETER", 422, "A parameter has an unusable value"),
    Kind("IMAGE_INVALID", 422, "The image cannot be used"),
    Kind("IMAGE_TOO_LARGE", 413, "The image has more pixels than the limit"),
    # Who asks, and for what.
    Kind("AUTH", 401, "A valid API key is required"),
    Kind("MODEL_NOT_FOUND", 404, "No such model or version is served"),
    Kind("PATH_NOT_FOUND", 404, "No such path"),
    Kind("METHOD_NOT_ALLOWED", 405, "The method is not allowed here"),
    # Our side.
    Kind("QUEUE_FULL", 429, "The queue is full", retryable=True),
    Kind("DEADLINE", 504, "The answer was not ready in the time given", retryable=True),
    Kind("CONNECTIONS_FULL", 429, "Too many connections are open", retryable=True),
    Kind("NOT_READY", 503, "No model is ready yet", retryable=True),
    Kind("DRAINING", 503, "The service is shutting down", retryable=True),
    Kind("NON_FINITE_OUTPUT", 500, "The model gave a result that is not finite"),
    Kind("INTERNAL", 500, "The service failed"),
)

CATALOGUE: Mapping[str, Kind] = MappingProxyType({kind.code: kind for kind in _KINDS})


class Problem(Exception):
    """An answer that is an error, raised anywhere below the routes and written by one handler.

    Args:
        code: a row of `CATALOGUE`.
        detail: one sentence for a person, free of the caller's own values.
        pointer: JSON pointer (RFC 6901) into the body, "" where the fault is not at one place.
        retry_after_seconds: sent as `Retry-After`; required for 429 and 503.
        headers: further response headers, such as `WWW-Authenticate`.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        pointer: str = "",
        retry_after_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.kind = CATALOGUE[code]
        self.detail = detail
        self.pointer = pointer
        self.retry_after_seconds = retry_after_seconds
        self.headers = dict(headers or {})

    def document(self, request_id: str, *, v2: bool = False) -> dict[str, Any]:
        """The error object of contract and wire, ready for JSON."""
        kind = self.kind
        return {
            "type": kind.urn,
            "title": kind.title,
            "status": kind.status_v2 if v2 else kind.status,
            "detail": self.detail,
            "code": kind.code,
            "pointer": self.pointer,
            "request_id": request_id,
            "retryable": kind.retryable,
            "error": f"{kind.code}: {self.detail}",
        }
