"""A problem that no request of the application has → the bytes of its answer."""

from __future__ import annotations

import http
from collections.abc import Sequence

from clipmax.problems import Problem
from service.exchange import is_v2, render, request_id

Headers = Sequence[tuple[bytes, bytes]]


def refusal(problem: Problem, *, url: bytes, headers: Headers, default_headers: Headers) -> tuple[int, bytes]:
    """Status and bytes, in the shape in which the application answers; the connection closes after them.

    Args:
        problem: what is wrong.
        url: as far as it has come.
        headers: of the request, likewise.
        default_headers: of every answer.
    """
    sent_id = request_id(dict(headers))
    path = url.partition(b"?")[0].decode("latin-1")
    answer = render(problem, request_id=sent_id.decode(), v2=is_v2(path))
    status = http.HTTPStatus(answer.status)
    fields = [*default_headers, *answer.headers, (b"x-request-id", sent_id)]
    lines = [b"HTTP/1.1 %d %s" % (status, status.phrase.encode()), *(b"%s: %s" % field for field in fields)]
    return answer.status, b"\r\n".join([*lines, b"connection: close", b"", answer.body])
