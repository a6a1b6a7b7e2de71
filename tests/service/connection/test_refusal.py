"""An answer that the application is not asked for has the shape of its answers."""

from __future__ import annotations

import json

from clipmax.problems import Problem
from service.connection.refusal import refusal


def test_it_is_an_answer_of_ours_that_ends_the_connection() -> None:
    """With the request's id, as far as its headers have come, and in the shape that its path asks for."""
    problem = Problem("TIMEOUT_READ", "the body did not arrive in time")
    for url, media_type in (
        (b"/predict?x=1", b"application/problem+json"),
        (b"/v2/models/x/infer", b"application/json"),
    ):
        status, answer = refusal(
            problem, url=url, headers=[(b"x-request-id", b"seen")], default_headers=[(b"date", b"today")]
        )
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *fields = head.split(b"\r\n")
        assert first == b"HTTP/1.1 %d " % status + (b"Request Timeout" if status == 408 else b"Bad Request")
        assert {b"date: today", b"x-request-id: seen", b"connection: close"} <= set(fields)
        assert b"content-type: " + media_type in fields
        assert json.loads(body)["code"] == "TIMEOUT_READ"
