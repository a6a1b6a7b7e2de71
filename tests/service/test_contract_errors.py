"""Every row of the contract's error table that these routes can meet, through a real socket."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from clipmax.problems import CATALOGUE
from tests.service.running import RawAnswer, Running, exchange, post

MARKER = "s3cret7731"
ROW = [7731] * 16
MEMBERS = {"type", "title", "status", "detail", "code", "pointer", "request_id", "retryable", "error"}
PATHS = ("/predict", "/v1/models/tiny:predict", "/v1/models/tiny/versions/1:predict")


def instances(*rows: str) -> bytes:
    return f'{{"instances": [{", ".join(rows)}]}}'.encode()


def row_with(element: str) -> str:
    return "[" + ", ".join([element, *["7731"] * 15]) + "]"


def asking(parameters: str) -> bytes:
    return f'{{"instances": [{json.dumps(ROW)}], "parameters": {parameters}}}'.encode()


BODIES: list[tuple[str, bytes, str, str | None]] = [
    ("NaN", instances(row_with("NaN")), "JSON_INVALID", None),
    ("Infinity", instances(row_with("Infinity")), "JSON_INVALID", None),
    ("minus Infinity", instances(row_with("-Infinity")), "JSON_INVALID", None),
    ("1e999", instances(row_with("1e999")), "NUMBER_RANGE", "/instances/0/0"),
    ("1e39", instances(json.dumps(ROW), row_with("1e39")), "NUMBER_RANGE", "/instances/1/0"),
    ("-1e39", instances(row_with("-1e39")), "NUMBER_RANGE", "/instances/0/0"),
    ("5000 digits", instances(row_with("7" * 5000)), "NUMBER_RANGE", "/instances/0/0"),
    ("minus 5000 digits", instances(row_with("-" + "7" * 5000)), "NUMBER_RANGE", "/instances/0/0"),
    ("a numeric string", instances(row_with('"1.5"')), "TYPE", "/instances/0/0"),
    ("the string nan", instances(row_with('"nan"')), "TYPE", "/instances/0/0"),
    ("a text", instances(row_with(f'"{MARKER}"')), "TYPE", "/instances/0/0"),
    ("true", instances(row_with("true")), "TYPE", "/instances/0/0"),
    ("null", instances(row_with("null")), "TYPE", "/instances/0/0"),
    ("an object", instances(row_with("{}")), "TYPE", "/instances/0/0"),
    ("a null row", instances(json.dumps(ROW), "null"), "TYPE", "/instances/1"),
    ("ragged", instances(json.dumps(ROW), "[7731, 2]"), "INPUT_SHAPE", "/instances/1"),
    ("too wide", instances(json.dumps([*ROW, 1])), "INPUT_SHAPE", "/instances/0"),
    ("wrong rank", instances(json.dumps([[[7731]]])), "INPUT_SHAPE", "/instances/0"),
    ("ragged lines", instances(json.dumps([[1] * 4, [1] * 4, [1] * 3, [1] * 4])), "INPUT_SHAPE", "/instances/0/2"),
    ("an empty batch", b'{"instances": []}', "EMPTY_BATCH", "/instances"),
    ("a zero-width row", instances("[]"), "INPUT_SHAPE", "/instances/0"),
    ("too many rows", instances(*["0"] * 101), "BATCH_TOO_LARGE", "/instances"),
    ("duplicate keys", b'{"instances": [], "instances": [1]}', "DUPLICATE_KEY", None),
    ("duplicate deeper", b'{"instances": [{"a": 1, "\\u0061": 2}]}', "DUPLICATE_KEY", None),
    ("an unknown member", f'{{"instances": [], "{MARKER}": 1}}'.encode(), "UNKNOWN_FIELD", ""),
    ("an unknown parameter", asking(f'{{"{MARKER}": 1}}'), "UNKNOWN_FIELD", "/parameters"),
    ("no instances", b"{}", "FIELD_MISSING", ""),
    ("instances no array", b'{"instances": {}}', "TYPE", "/instances"),
    ("parameters no object", asking("[]"), "TYPE", "/parameters"),
    ("a bare array", f'["{MARKER}"]'.encode(), "TYPE", ""),
    ("invalid UTF-8", b'{"instances": ["\xff\xfe"]}', "ENCODING", None),
    ("an encoded surrogate", b'{"instances": ["\xed\xa0\x80"]}', "ENCODING", None),
    ("a BOM", b"\xef\xbb\xbf" + instances(json.dumps(ROW)), "ENCODING", None),
    ("UTF-16", instances(json.dumps(ROW)).decode().encode("utf-16"), "ENCODING", None),
    ("UTF-16 without BOM", instances(json.dumps(ROW)).decode().encode("utf-16-le"), "ENCODING", None),
    ("a lone surrogate", b'{"instances": ["\\ud800"]}', "ENCODING", None),
    ("a lone surrogate as key", b'{"instances": [{"\\udc00": 1}]}', "ENCODING", None),
    ("2,000 deep", b"[" * 2000 + b"]" * 2000, "DEPTH", None),
    ("100,000 deep", b"[" * 100_000 + b"]" * 100_000, "DEPTH", None),
    ("100,000 deep, never closed", b'{"instances":' + b'[{"a":' * 40_000, "DEPTH", None),
    ("an empty body", b"", "JSON_INVALID", None),
    ("spaces", b"  \n", "JSON_INVALID", None),
    ("no JSON", MARKER.encode(), "JSON_INVALID", None),
    ("cut off", b'{"instances": [[1, 2', "JSON_INVALID", None),
    ("a leading zero", instances(row_with("01")), "JSON_INVALID", None),
    ("trailing bytes", instances(json.dumps(ROW)) + MARKER.encode(), "JSON_INVALID", None),
    ("a raw control character", b'{"instances": ["\x01"]}', "JSON_INVALID", None),
    ("top_k 0", asking('{"top_k": 0}'), "PARAMETER", "/parameters/top_k"),
    ("top_k -1", asking('{"top_k": -1}'), "PARAMETER", "/parameters/top_k"),
    ("top_k 1.5", asking('{"top_k": 1.5}'), "PARAMETER", "/parameters/top_k"),
    ("top_k true", asking('{"top_k": true}'), "PARAMETER", "/parameters/top_k"),
    ("top_k a string", asking(f'{{"top_k": "{MARKER}"}}'), "PARAMETER", "/parameters/top_k"),
    ("top_k above int64", asking('{"top_k": 9223372036854775808}'), "PARAMETER", "/parameters/top_k"),
    ("probabilities 1", asking('{"probabilities": 1}'), "PARAMETER", "/parameters/probabilities"),
    ("logits null", asking('{"logits": null}'), "PARAMETER", "/parameters/logits"),
    ("a broken image", instances('{"b64": "aGVsbG8="}'), "IMAGE_INVALID", "/instances/0/b64"),
    ("no base64", instances('{"b64": "***"}'), "IMAGE_INVALID", "/instances/0/b64"),
    ("b64 a number", instances('{"b64": 7731}'), "TYPE", "/instances/0/b64"),
]


def check(answer: RawAnswer, code: str, *, v2: bool = False) -> None:
    """The answer is the contract's error of this code, whatever else it says."""
    kind = CATALOGUE[code]
    document = answer.document
    assert document["code"] == code, document
    assert answer.status == document["status"] == (kind.status_v2 if v2 else kind.status)
    assert answer.headers["content-type"] == ("application/json" if v2 else "application/problem+json")
    assert set(document) == MEMBERS
    assert document["type"] == f"urn:clipmax:problem:{code.lower().replace('_', '-')}"
    assert document["title"] == kind.title
    assert document["error"] == f"{code}: {document['detail']}"
    assert document["retryable"] is kind.retryable
    assert document["request_id"] == answer.headers["x-request-id"]
    text = answer.body.decode()
    assert MARKER not in text
    assert "7731" not in text.replace(document["request_id"], "")
    assert "/tmp" not in text  # noqa: S108  # no path of the models folder
    assert "Traceback" not in text


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "code", "pointer"), [row[1:] for row in BODIES], ids=[row[0].replace(" ", "-") for row in BODIES]
)
def test_a_body_that_cannot_be_answered_is_refused_by_its_code(
    service: Running, path: str, body: bytes, code: str, pointer: str | None
) -> None:
    """Status, code, pointer and shape of the error; nothing of the body comes back."""
    answer = exchange(service, post(path, body))
    check(answer, code)
    if pointer is not None:
        assert answer.document["pointer"] == pointer


HEADERS: list[tuple[str, list[str], str]] = [
    ("no content type", ["X-Nothing: 1"], "MEDIA_TYPE"),
    ("a form", ["Content-Type: application/x-www-form-urlencoded"], "MEDIA_TYPE"),
    ("text", [f"Content-Type: text/{MARKER}"], "MEDIA_TYPE"),
    ("latin-1", ["Content-Type: application/json; charset=latin-1"], "MEDIA_TYPE"),
    ("UTF-16", ["Content-Type: application/json; charset=utf-16"], "MEDIA_TYPE"),
    ("gzip", ["Content-Type: application/json", "Content-Encoding: gzip"], "CONTENT_ENCODING"),
    ("unknown encoding", ["Content-Type: application/json", f"Content-Encoding: {MARKER}"], "CONTENT_ENCODING"),
]


@pytest.mark.parametrize(
    ("headers", "code"), [row[1:] for row in HEADERS], ids=[row[0].replace(" ", "-") for row in HEADERS]
)
def test_a_body_that_claims_to_be_something_else_is_refused(service: Running, headers: list[str], code: str) -> None:
    """Only plain JSON in UTF-8 is read."""
    check(exchange(service, post("/predict", instances(json.dumps(ROW)), *headers)), code)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_json_may_say_that_it_is_utf_8(service: Running, content_type: str) -> None:
    """The one character set that JSON has may be named."""
    answer = exchange(service, post("/predict", instances(json.dumps(ROW)), f"Content-Type: {content_type}"))
    assert answer.status == 200


UNKNOWN_MODELS = (
    "/v1/models/none:predict",
    "/v1/models/none/versions/1:predict",
    "/v1/models/tiny/versions/9:predict",
    "/v1/models/tiny/versions/0:predict",
    "/v1/models/tiny/versions/-1:predict",
    "/v1/models/tiny/versions/01:predict",
    "/v1/models/tiny/versions/1e0:predict",
    f"/v1/models/tiny/versions/{'9' * 400}:predict",
    "/v1/models/tiny/versions/%D9%A1:predict",
    "/v1/models/..%2ftiny:predict",
    "/v1/models/..%2f..%2fetc%2fpasswd:predict",
    "/v1/models/%2e%2e:predict",
    "/v1/models/tiny%00:predict",
    "/v1/models/tiny/versions/1%00:predict",
    "/v1/models/tiny/versions/..%2f1:predict",
    "/v1/models/%EF%BC%8E%EF%BC%8E/tiny:predict",
    "/v1/models/%E2%80%A4%E2%80%A4:predict",
    "/v1/models/%FF:predict",
    f"/v1/models/{MARKER}:predict",
)


@pytest.mark.parametrize("path", UNKNOWN_MODELS)
def test_no_trick_in_a_path_reaches_more_than_the_served_names(service: Running, path: str) -> None:
    """Names and versions are looked up, never opened."""
    check(exchange(service, post(path, instances(json.dumps(ROW)))), "MODEL_NOT_FOUND")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unknown_model_has_no_status(service: Running, method: str) -> None:
    """Also by GET, and HEAD says the same without a body."""
    answer = exchange(service, f"{method} /v1/models/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.status == 404


@pytest.mark.parametrize("path", ["/nothing", f"/{MARKER}", "/predict/", "/docs/..%2f..%2fapp.py", "/v1"])
def test_an_unknown_path_is_a_problem(service: Running, path: str) -> None:
    """There is no redirect and no page of the framework."""
    check(exchange(service, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()), "PATH_NOT_FOUND")


def test_an_unknown_v2_path_is_a_v2_error(service: Running) -> None:
    """Plain JSON, and `error` as the Open Inference Protocol has it."""
    check(exchange(service, b"GET /v2/nothing HTTP/1.1\r\nHost: x\r\n\r\n"), "PATH_NOT_FOUND", v2=True)
    check(exchange(service, b"GET /v2/models/x HTTP/1.1\r\nHost: x\r\n\r\n"), "MODEL_NOT_FOUND", v2=True)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", {"POST", "OPTIONS"}),
        ("PUT", "/predict", {"POST", "OPTIONS"}),
        ("DELETE", "/v1/models/tiny", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/v1/models/tiny:predict", {"POST", "OPTIONS"}),
        ("GET", "/v1/models/tiny/versions/1:predict", {"POST", "OPTIONS"}),
        ("POST", "/docs", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(service: Running, method: str, path: str, allowed: set[str]) -> None:
    """405 with `Allow`; OPTIONS gives the same list."""
    answer = exchange(service, f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    check(answer, "METHOD_NOT_ALLOWED")
    assert set(answer.headers["allow"].split(", ")) == allowed
    options = exchange(service, f"OPTIONS {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert options.status == 204
    assert set(options.headers["allow"].split(", ")) == allowed


REQUEST_IDS: Sequence[bytes] = (b"a b", b"x" * 129, b"x" * 10_000, "ä".encode(), b"\xe4", b'a"b', b"<script>", b"")


@pytest.mark.parametrize("given", REQUEST_IDS, ids=range(len(REQUEST_IDS)))
def test_a_request_id_that_is_not_harmless_is_replaced(service: Running, given: bytes) -> None:
    """In header and body, of answers and of errors."""
    for body in (instances(json.dumps(ROW)), b"{"):
        lines = post("/predict", body).replace(b"\r\n\r\n", b"\r\nX-Request-ID: " + given + b"\r\n\r\n", 1)
        answer = exchange(service, lines)
        assert answer.headers["x-request-id"] == answer.document["request_id"]
        assert answer.headers["x-request-id"].encode() != given.strip()
        assert len(answer.headers["x-request-id"]) == 24


def test_a_harmless_request_id_comes_back(service: Running) -> None:
    """In header and body, of answers and of errors."""
    for body in (instances(json.dumps(ROW)), b"{"):
        answer = exchange(service, post("/predict", body, "Content-Type: application/json", "X-Request-ID: job-7:a/b"))
        assert answer.headers["x-request-id"] == answer.document["request_id"] == "job-7:a/b"


def test_a_line_break_in_a_request_id_cannot_be_sent(service: Running) -> None:
    """A folded header is no HTTP any more."""
    request = post("/predict", b"{}", "X-Request-ID: a\r\n b", "Content-Type: application/json")
    check(exchange(service, request), "HTTP_INVALID")
