"""Slow, huge and malformed requests, on real sockets."""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path

import httpx
import pytest

from tests import artifacts
from tests.service.running import (
    PATIENCE_SECONDS,
    Running,
    exchange,
    post,
    read_answer,
    serving,
)
from tests.service.test_contract_errors import MARKER, check

GOOD = json.dumps({"instances": artifacts.rows(1)}).encode()


def chunked(*chunks: bytes, headers: str = "") -> bytes:
    start = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}"
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return f"{start}Transfer-Encoding: chunked\r\n\r\n".encode() + body


def test_a_chunked_body_is_read_like_any_other(service: Running) -> None:
    """However it is cut."""
    answer = exchange(service, chunked(GOOD[:1], GOOD[1:7], GOOD[7:], b""))
    assert answer.status == 200


def test_the_length_given_twice_is_refused_and_the_connection_closed(service: Running) -> None:
    """Whoever reads one length and whoever reads the other would see two different requests."""
    for headers in (
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ):
        request = f"POST /predict HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n0\r\n\r\n".encode()
        answer = exchange(service, request)
        check(answer, "FRAMING")
        assert answer.closed


@pytest.mark.parametrize(
    "request_bytes",
    [
        f"{MARKER}\r\n\r\n".encode(),
        f"GET /{MARKER} {MARKER} HTTP/1.1\r\n\r\n".encode(),
        b"POST /predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 7731x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nName: a\0b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=range(11),
)
def test_bytes_that_are_not_http_get_an_answer_in_our_shape(service: Running, request_bytes: bytes) -> None:
    """And the connection is closed, because nobody knows where the next request would begin."""
    answer = exchange(service, request_bytes)
    check(answer, "HTTP_INVALID")
    assert answer.closed


def test_a_v2_path_gets_the_v2_shape_even_for_bad_framing(service: Running) -> None:
    """The protocol knows the path by then."""
    request = b"POST /v2/x HTTP/1.1\r\nX-Request-ID: seen\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = exchange(service, request)
    check(answer, "FRAMING", v2=True)
    assert answer.document["request_id"] == "seen"


@pytest.mark.parametrize("size", [30_000, 1_000_000])
def test_huge_headers_are_refused_without_being_kept(service: Running, size: int) -> None:
    """In one header, in many, or in the request line."""
    one = b"GET / HTTP/1.1\r\nX: " + b"7" * size + b"\r\n\r\n"
    many = b"GET / HTTP/1.1\r\n" + b"X: 77\r\n" * (size // 7) + b"\r\n"
    line = b"GET /" + b"7" * size + b" HTTP/1.1\r\n\r\n"
    for request in (one, many, line):
        answer = exchange(service, request)
        check(answer, "HEADERS_TOO_LARGE")
        assert answer.closed


def test_headers_up_to_the_limit_are_taken_with_a_body_behind_them(service: Running) -> None:
    """The limit counts the headers only, wherever the packets are cut."""
    request = post("/predict", GOOD + b" " * 200_000, "Content-Type: application/json", "X: " + "a" * 19_000)
    assert exchange(service, request).status == 200


def test_a_body_over_the_limit_is_refused_before_it_is_sent(service: Running) -> None:
    """Content-Length is enough to know; `Expect: 100-continue` is not answered with an invitation."""
    headers = ("Content-Type: application/json", "Expect: 100-continue")
    answer = exchange(service, post("/predict", b"", *headers, length=10**12))
    check(answer, "BODY_TOO_LARGE")
    assert answer.closed


def test_a_chunked_body_is_refused_once_it_passes_the_limit(service: Running) -> None:
    """A caller who goes on sending still gets to read the answer."""
    answer = exchange(service, chunked(*[b" " * 100_000] * 40))
    check(answer, "BODY_TOO_LARGE")
    assert answer.closed


def test_chunks_that_are_mostly_framing_are_refused(service: Running) -> None:
    """Chunk extensions and trailers are as bounded as headers."""
    for rest in (
        b"1;" + b"7" * 300_000,
        b"1\r\n{\r\n0\r\n" + b"Name: 77\r\n" * 30_000,
        b"1\r\n{\r\n0\r\nN: " + b"7" * 300_000,
    ):
        pieces = [chunked(), *(rest[start : start + 50_000] for start in range(0, len(rest), 50_000))]
        check(exchange(service, pieces, pause=0.01), "HTTP_INVALID")


def test_slow_headers_time_out(service: Running) -> None:
    """A byte now and then does not keep a connection."""
    began = time.monotonic()
    answer = exchange(service, [b"GET / HT", b"TP/1.1\r\n", *[b"A: b\r\n"] * 4], pause=0.3)
    check(answer, "TIMEOUT_READ")
    assert answer.closed
    assert time.monotonic() - began < 10


def test_slow_and_missing_bodies_time_out(service: Running) -> None:
    """Nothing at all, a part, or a byte now and then; with Content-Length and chunked."""
    head = post("/predict", b"", length=1000)
    for pieces in ([head], [head + b'{"instances'], [head, *[b" "] * 5], [chunked(b"{")]):
        answer = exchange(service, pieces, pause=0.3)
        check(answer, "TIMEOUT_READ")
        assert answer.closed


def test_a_silent_connection_is_closed_without_a_word(service: Running) -> None:
    """Nobody asked, so nobody is answered."""
    with service.connect() as connection:
        assert connection.recv(1) == b""


def test_empty_lines_do_not_keep_a_connection(service: Running) -> None:
    """The parser passes over them, the clock does not."""
    with service.connect() as connection:
        connection.sendall(post("/predict", GOOD))
        assert read_answer(connection).status == 200
        for _ in range(8):
            connection.sendall(b"\r\n")
            time.sleep(0.2)
        check(read_answer(connection), "TIMEOUT_READ")


def test_requests_in_one_packet_are_answered_in_order(service: Running) -> None:
    """Pipelining works, and what is not HTTP behind a good request does not cost that one its answer."""
    with service.connect() as connection:
        connection.sendall(post("/predict", GOOD) * 3 + post("/predict", b"{") + MARKER.encode() + b"\r\n\r\n")
        with connection.makefile("rb") as reader:
            content = reader.read()
    statuses = [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", content)]
    assert statuses[:3] == [200, 200, 200]
    assert set(statuses[3:]) <= {400}


def test_a_request_that_came_alone_may_still_have_to_wait(service: Running) -> None:
    """It has begun outside a task; a long body that only the exact reader takes is read in the thread."""
    row = ", ".join(["12345678901234567890", *["0"] * 15])
    body = f'{{"instances": [[{row}]{" " * 40_000}]}}'.encode()
    answer = exchange(service, post("/predict", body))
    assert answer.status == 200
    assert answer.document["predictions"][0]["out_of_range"]


def test_a_client_that_leaves_in_the_middle_harms_nobody(service: Running) -> None:
    """Its request ends quietly."""
    for part in (post("/predict", GOOD)[:-20], post("/predict", GOOD), b"POST /pre"):
        with service.connect() as connection:
            connection.sendall(part)
            connection.shutdown(socket.SHUT_RDWR)
    assert exchange(service, post("/predict", GOOD)).status == 200
    assert not [event for event in service.events() if event["level"] == "error"]


def test_an_upgrade_is_not_taken_up(service: Running) -> None:
    """The request is answered as if nothing had been offered."""
    request = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert exchange(service, request).status == 200


def test_a_refused_request_is_not_told_to_continue(service: Running) -> None:
    """Headers that ask for it and a body that is none, in one piece: one answer, and nothing of it in the log."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    answer = exchange(service, head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert (answer.status, answer.document["code"]) == (400, "HTTP_INVALID")
    assert httpx.get(f"{service.url}/v2/health/live").status_code == 200
    assert not [event for event in service.events() if event["event"] == "request failed"]


def test_connections_over_the_bound_are_told_to_come_again(models: Path, tmp_path: Path) -> None:
    """429 with Retry-After, at once; those that are open are answered, and one that leaves makes room."""
    with serving(models, tmp_path, "--max-connections", "2") as running:
        with running.connect() as first, running.connect() as second:
            for connection in (first, second):
                connection.sendall(post("/predict", GOOD))
                assert read_answer(connection).status == 200
            answer = exchange(running, post("/predict", GOOD))
            check(answer, "CONNECTIONS_FULL")
            assert answer.headers["retry-after"] == "1"
            assert answer.closed
            first.sendall(post("/predict", GOOD))
            assert read_answer(first).status == 200
        deadline = time.monotonic() + PATIENCE_SECONDS
        while exchange(running, post("/predict", GOOD)).status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
