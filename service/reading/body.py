"""A request's byte stream → its whole body, or a refusal as soon as it is known."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from clipmax.problems import Problem

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Mapping[bytes, bytes]
Charge = Callable[[int], None]

_JSON = re.compile(rb'application/json\s*(;\s*charset="?utf-8"?\s*)?', re.IGNORECASE)


class ClientGone(Exception):
    """The caller closed the connection; there is nobody to answer."""


async def read(receive: Receive, headers: Headers, *, limit: int, charge: Charge | None = None) -> bytes:
    """The body of at most `limit` bytes. Slow senders are timed by the server's protocol, not here.

    Args:
        receive: of ASGI.
        headers: of the request.
        limit: bytes.
        charge: told how many bytes have arrived before they are kept; what it raises ends the reading.

    Raises:
        Problem: BODY_TOO_LARGE, before a byte is read where Content-Length says so.
        ClientGone: the connection ended before the body did.
    """
    check_length(headers, limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return checked(message["body"], limit, charge)
    parts, size = [], 0
    while message["type"] == "http.request":
        size += len(message["body"])
        if size > limit:
            raise _too_large(limit)
        if charge is not None:
            charge(len(message["body"]))
        parts.append(message["body"])
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise ClientGone


def check_json_headers(headers: Headers) -> None:
    """Refuse a body that does not claim to be plain JSON in UTF-8.

    Raises:
        Problem: MEDIA_TYPE or CONTENT_ENCODING.
    """
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Problem("CONTENT_ENCODING", "send the body as it is, without Content-Encoding")
    given = headers.get(b"content-type", b"")
    if given != b"application/json" and _JSON.fullmatch(given.strip()) is None:
        raise Problem("MEDIA_TYPE", "send Content-Type: application/json, in UTF-8")


def check_length(headers: Headers, limit: int) -> None:
    """Refuse by Content-Length, before a byte is read.

    Raises:
        Problem: BODY_TOO_LARGE.
    """
    length = headers.get(b"content-length")  # the parser has made sure that it is a number
    if length is not None and int(length) > limit:
        raise _too_large(limit)


def checked(body: bytes, limit: int, charge: Charge | None) -> bytes:
    """A body that came in one piece, charged as in `read`.

    Raises:
        Problem: BODY_TOO_LARGE.
    """
    if len(body) > limit:
        raise _too_large(limit)
    if charge is not None:
        charge(len(body))
    return body


def _too_large(limit: int) -> Problem:
    return Problem("BODY_TOO_LARGE", f"the limit is {limit} bytes")
