"""The contract's error table over the Open Inference Protocol, JSON and raw tensors, through a real socket."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from tests.service.running import Running, exchange, post
from tests.service.test_contract_errors import MARKER, check

PATH, TABLE, TEXT = "/v2/models/tiny/infer", "/v2/models/table/infer", "/v2/models/text/infer"
PATHS = (PATH, "/v2/models/tiny/versions/1/infer")
ROW = [7731] * 16
FRAME = struct.pack("<16f", *[7731.0] * 16)


def image(data: object = None, **members: Any) -> dict[str, Any]:
    """The one input of the model, with members changed."""
    return {"name": "image", "shape": [1, 16], "datatype": "FP32", "data": ROW if data is None else data} | members


def asking(*inputs: Any, **members: Any) -> bytes:
    return json.dumps({"inputs": inputs or [image()]} | members).encode()


def with_data(data: str) -> bytes:
    """Data that only text can hold."""
    return asking().replace(json.dumps(ROW).encode(), data.encode())


def row_with(element: str) -> bytes:
    return with_data("[" + ", ".join([element, *["7731"] * 15]) + "]")


def with_shape(shape: str) -> bytes:
    return asking().replace(b"[1, 16]", shape.encode())


def column(name: str, datatype: str, *values: object, **members: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": list(values)} | members


def table(*changed: dict[str, Any]) -> bytes:
    """The three columns of the table, some of them changed."""
    columns = {"age": column("age", "FP32", 1), "seen": column("seen", "FP64", 1), "city": column("city", "BYTES", "")}
    return asking(*(columns | {one["name"]: one for one in changed}).values())


BODIES: list[tuple[str, str, bytes, str, str | None]] = [
    ("NaN", PATH, row_with("NaN"), "JSON_INVALID", None),
    ("minus Infinity", PATH, row_with("-Infinity"), "JSON_INVALID", None),
    ("1e999", PATH, row_with("1e999"), "NUMBER_RANGE", "/inputs/0/data/0"),
    ("1e39", PATH, row_with("1e39"), "NUMBER_RANGE", "/inputs/0/data/0"),
    ("1e39 as FP64", PATH, row_with("1e39").replace(b"FP32", b"FP64"), "NUMBER_RANGE", "/inputs/0/data"),
    ("70000 as FP16", PATH, row_with("70000").replace(b"FP32", b"FP16"), "NUMBER_RANGE", "/inputs/0/data/0"),
    ("5000 digits", PATH, row_with("7" * 5000), "NUMBER_RANGE", "/inputs/0/data/0"),
    ("5000 digits as INT64", PATH, row_with("7" * 5000).replace(b"FP32", b"INT64"), "NUMBER_RANGE", "/inputs/0/data/0"),
    ("2**63 as INT64", PATH, row_with(str(2**63)).replace(b"FP32", b"INT64"), "NUMBER_RANGE", "/inputs/0/data/0"),
    ("minus one as UINT8", PATH, asking(image([-1] + [0] * 15, datatype="UINT8")), "NUMBER_RANGE", "/inputs/0/data/0"),
    ("256 as UINT8", PATH, asking(image([0] * 15 + [256], datatype="UINT8")), "NUMBER_RANGE", "/inputs/0/data/15"),
    ("a fraction as INT32", PATH, asking(image([0.5] * 16, datatype="INT32")), "TYPE", "/inputs/0/data/0"),
    ("a numeric string", PATH, row_with('"1.5"'), "TYPE", "/inputs/0/data/0"),
    ("a text", PATH, row_with(f'"{MARKER}"'), "TYPE", "/inputs/0/data/0"),
    ("true", PATH, row_with("true"), "TYPE", "/inputs/0/data/0"),
    ("null", PATH, row_with("null"), "TYPE", "/inputs/0/data/0"),
    ("an object", PATH, row_with("{}"), "TYPE", "/inputs/0/data/0"),
    ("data an object", PATH, asking(image({})), "FIELD_MISSING", "/inputs/0/data"),
    ("no data", PATH, asking({"name": "image", "shape": [1, 16], "datatype": "FP32"}), "FIELD_MISSING", None),
    ("no shape", PATH, asking({"name": "image", "datatype": "FP32", "data": ROW}), "FIELD_MISSING", "/inputs/0/shape"),
    ("too few elements", PATH, asking(image(ROW[1:])), "SHAPE_INVALID", "/inputs/0/data"),
    ("too many elements", PATH, asking(image([*ROW, 1])), "SHAPE_INVALID", "/inputs/0/data"),
    ("no elements", PATH, asking(image([])), "SHAPE_INVALID", "/inputs/0/data"),
    ("ragged", PATH, asking(image([ROW, ROW[1:]], shape=[2, 16])), "INPUT_SHAPE", "/inputs/0/data/1"),
    ("half nested", PATH, asking(image([[ROW[:15], 1]])), "INPUT_SHAPE", "/inputs/0/data/0"),
    ("nested too deep", PATH, asking(image([[[1]] * 16])), "INPUT_SHAPE", "/inputs/0/data/0/0"),
    ("one row too many", PATH, asking(image([ROW, ROW])), "SHAPE_INVALID", "/inputs/0/data"),
    ("wrong width", PATH, asking(image([1] * 15, shape=[1, 15])), "INPUT_SHAPE", "/inputs/0/shape"),
    ("wrong rank", PATH, asking(image(shape=[1, 2, 2, 4])), "INPUT_SHAPE", "/inputs/0/shape"),
    ("no rows dimension", PATH, asking(image(shape=[4, 4])), "INPUT_SHAPE", "/inputs/0/shape"),
    ("10**9 rows", PATH, with_shape("[1000000000, 16]"), "BATCH_TOO_LARGE", "/inputs/0/shape"),
    ("101 rows", PATH, with_shape("[101, 16]"), "BATCH_TOO_LARGE", "/inputs/0/shape"),
    ("2**63 rows", PATH, with_shape("[9223372036854775808, 16]"), "SHAPE_INVALID", "/inputs/0/shape/0"),
    ("2**63 columns", PATH, with_shape("[1, 9223372036854775808]"), "SHAPE_INVALID", "/inputs/0/shape/1"),
    ("5000 digits of rows", PATH, with_shape(f"[{'7' * 5000}, 16]"), "SHAPE_INVALID", "/inputs/0/shape/0"),
    ("negative rows", PATH, with_shape("[-1, 16]"), "SHAPE_INVALID", "/inputs/0/shape/0"),
    ("zero rows", PATH, with_shape("[0, 16]"), "SHAPE_INVALID", "/inputs/0/shape/0"),
    ("zero columns", PATH, with_shape("[1, 0]"), "SHAPE_INVALID", "/inputs/0/shape/1"),
    ("a float dimension", PATH, with_shape("[1.0, 16]"), "SHAPE_INVALID", "/inputs/0/shape/0"),
    ("a true dimension", PATH, with_shape("[true, 16]"), "SHAPE_INVALID", "/inputs/0/shape/0"),
    ("no dimensions", PATH, with_shape("[]"), "SHAPE_INVALID", "/inputs/0/shape"),
    ("a shape that is none", PATH, with_shape('"1x16"'), "SHAPE_INVALID", "/inputs/0/shape"),
    ("an unknown input", PATH, asking(image(name=MARKER)), "INPUT_NAME", "/inputs/0/name"),
    ("a nameless input", PATH, asking(image(name=7731)), "TYPE", "/inputs/0/name"),
    ("the input twice", PATH, asking(image(), image()), "INPUT_NAME", "/inputs"),
    ("a column twice", TABLE, asking(*[column("age", "FP32", 1)] * 3), "INPUT_NAME", "/inputs/1/name"),
    ("a column missing", TABLE, asking(column("age", "FP32", 1)), "INPUT_NAME", "/inputs"),
    ("no inputs", PATH, b'{"inputs": []}', "INPUT_NAME", "/inputs"),
    ("inputs missing", PATH, b"{}", "FIELD_MISSING", ""),
    ("inputs no array", PATH, b'{"inputs": {}}', "TYPE", "/inputs"),
    ("an input no object", PATH, asking([MARKER]), "TYPE", "/inputs/0"),
    ("100,000 inputs", PATH, b'{"inputs": [' + b"{}," * 90_000 + b"{}]}", "INPUT_NAME", "/inputs"),
    ("an unknown datatype", PATH, asking(image(datatype=MARKER)), "DATATYPE", "/inputs/0/datatype"),
    ("a datatype no string", PATH, asking(image(datatype=["FP32"])), "DATATYPE", "/inputs/0/datatype"),
    ("BOOL", PATH, asking(image([True] * 16, datatype="BOOL")), "DATATYPE", "/inputs/0/datatype"),
    ("words for a number", TABLE, table(column("age", "BYTES", MARKER)), "DATATYPE", None),
    ("a code that is none", TABLE, table(column("city", "INT32", 4)), "NUMBER_RANGE", None),
    ("a negative code", TABLE, table(column("city", "INT32", -1)), "NUMBER_RANGE", None),
    ("a number as a word", TABLE, table(column("city", "BYTES", 7731)), "TYPE", None),
    ("null in an integer column", TABLE, table(column("age", "INT32", None)), "TYPE", None),
    ("rows that differ", TABLE, table(column("city", "BYTES", "a", "b")), "INPUT_SHAPE", None),
    ("null for a text", TEXT, asking(column("text", "BYTES", None)), "TYPE", "/inputs/0/data/0"),
    ("no code point", TEXT, asking(column("text", "INT32", 0x110000, shape=[1, 1])), "NUMBER_RANGE", None),
    ("no image", PATH, asking(column("image", "BYTES", "aGVsbG8=")), "IMAGE_INVALID", "/inputs/0/data/0"),
    ("no base64", PATH, asking(column("image", "BYTES", "***")), "IMAGE_INVALID", "/inputs/0/data/0"),
    ("an unknown output", PATH, asking(outputs=[{"name": MARKER}]), "OUTPUT_NAME", "/outputs/0/name"),
    ("an output twice", PATH, asking(outputs=[{"name": "logits"}] * 2), "OUTPUT_NAME", "/outputs"),
    (
        "100,000 outputs",
        PATH,
        asking().replace(b"}]}", b'}], "outputs": [' + b"1," * 99_999 + b"1]}"),
        "OUTPUT_NAME",
        None,
    ),
    ("an output no object", PATH, asking(outputs=["logits"]), "TYPE", "/outputs/0"),
    ("an unknown member", PATH, asking(**{MARKER: 1}), "UNKNOWN_FIELD", ""),
    ("an unknown member of an input", PATH, asking(image(**{MARKER: 1})), "UNKNOWN_FIELD", "/inputs/0"),
    ("an unknown member of an output", PATH, asking(outputs=[{MARKER: 1}]), "UNKNOWN_FIELD", "/outputs/0"),
    ("id a number", PATH, asking(id=7731), "PARAMETER", "/id"),
    ("a long id", PATH, asking(id=MARKER * 100), "PARAMETER", "/id"),
    ("an id of two lines", PATH, asking(id=f"{MARKER}\n"), "PARAMETER", "/id"),
    ("parameters no object", PATH, asking(parameters=[]), "TYPE", "/parameters"),
    ("binary_data_output 1", PATH, asking(parameters={"binary_data_output": 1}), "PARAMETER", None),
    ("shared memory", PATH, asking(image(parameters={"shared_memory_region": MARKER})), "PARAMETER", None),
    ("duplicate keys", PATH, b'{"inputs": [], "inputs": []}', "DUPLICATE_KEY", None),
    ("a lone surrogate", PATH, asking(image(name="\ud800")), "ENCODING", None),
    ("invalid UTF-8", PATH, b'{"inputs": "\xff"}', "ENCODING", None),
    ("a BOM", PATH, b"\xef\xbb\xbf" + asking(), "ENCODING", None),
    ("UTF-16", PATH, asking().decode().encode("utf-16-le"), "ENCODING", None),
    ("100,000 deep", PATH, with_data("[" * 100_000), "DEPTH", None),
    ("empty", PATH, b"", "JSON_INVALID", None),
    ("trailing bytes", PATH, asking() + b"{}", "JSON_INVALID", None),
    ("not JSON", PATH, MARKER.encode(), "JSON_INVALID", None),
    ("over the limit", PATH, b" " * 300_001, "BODY_TOO_LARGE", None),
    *(
        (
            f"classification {value!r}",
            PATH,
            asking(outputs=[{"name": "logits", "parameters": {"classification": value}}]),
            "PARAMETER",
            "/outputs/0/parameters/classification",
        )
        for value in (0, -1, 1.5, True, "1", 2**63)
    ),
]


@pytest.mark.parametrize(
    ("path", "body", "code", "pointer"), [row[1:] for row in BODIES], ids=[row[0].replace(" ", "-") for row in BODIES]
)
def test_a_body_that_cannot_be_answered_is_refused_by_its_code(
    kinds_service: Running, path: str, body: bytes, code: str, pointer: str | None
) -> None:
    """Status, code, pointer and shape of the error; nothing of the body comes back."""
    answer = exchange(kinds_service, post(path, body))
    check(answer, code, v2=True)
    if pointer is not None:
        assert answer.document["pointer"] == pointer


def framed(document: bytes, raw: bytes, *, length: object = None, path: str = PATH) -> bytes:
    """A request of a JSON part and a raw part."""
    given = len(document) if length is None else length
    headers = ("Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {given}")
    return post(path, document + raw, *headers)


def raw_image(size: object, **members: Any) -> bytes:
    tensor = image(parameters={"binary_data_size": size}, **members)
    del tensor["data"]
    return asking(tensor)


def raw_text(size: int, rows: int = 1) -> bytes:
    parameters = {"binary_data_size": size}
    return asking({"name": "text", "shape": [rows, 1], "datatype": "BYTES", "parameters": parameters})


def float_bits(bits: int) -> bytes:
    return FRAME[:-4] + struct.pack("<I", bits)


GOOD = raw_image(64)
FRAMES: list[tuple[str, bytes, str]] = [
    ("a header length beyond the body", framed(GOOD, FRAME, length=10**9), "BINARY_FRAME"),
    ("a header length of 5000 digits", framed(GOOD, FRAME, length="7" * 5000), "BINARY_FRAME"),
    ("a negative header length", framed(GOOD, FRAME, length=-1), "BINARY_FRAME"),
    ("a header length that is none", framed(GOOD, FRAME, length=MARKER), "BINARY_FRAME"),
    ("an empty header length", framed(GOOD, FRAME, length=""), "BINARY_FRAME"),
    ("a header length of zero", framed(GOOD, FRAME, length=0), "JSON_INVALID"),
    ("a header length that cuts", framed(GOOD, FRAME, length=len(GOOD) - 1), "JSON_INVALID"),
    ("a header length that reaches into the frame", framed(GOOD, b"    " + FRAME, length=len(GOOD) + 8), "ENCODING"),
    ("no header", post(PATH, GOOD), "BINARY_FRAME"),
    ("a frame too short", framed(GOOD, FRAME[:-1]), "BINARY_FRAME"),
    ("a frame too long", framed(GOOD, FRAME + b"\0"), "BINARY_FRAME"),
    ("no frame", framed(GOOD, b""), "BINARY_FRAME"),
    ("a size that is not the shape's", framed(raw_image(60), FRAME[:60]), "BINARY_FRAME"),
    ("a negative size", framed(raw_image(-64), FRAME), "BINARY_FRAME"),
    ("a float size", framed(raw_image(64.0), FRAME), "BINARY_FRAME"),
    ("a true size", framed(raw_image(size=True), FRAME[:1]), "BINARY_FRAME"),
    ("a huge size", framed(raw_image(10**18), FRAME), "BINARY_FRAME"),
    ("data and size", framed(asking(image(parameters={"binary_data_size": 64})), FRAME), "BINARY_FRAME"),
    ("10**9 rows", framed(raw_image(64, shape=[10**9, 16]), FRAME), "BATCH_TOO_LARGE"),
    ("a row too many", framed(raw_image(64, shape=[2, 16]), FRAME), "BINARY_FRAME"),
    ("NaN", framed(GOOD, float_bits(0x7FC00000)), "NON_FINITE"),
    ("a signalling NaN", framed(GOOD, float_bits(0x7F800001)), "NON_FINITE"),
    ("infinity", framed(GOOD, float_bits(0x7F800000)), "NON_FINITE"),
    ("minus infinity", framed(GOOD, float_bits(0xFF800000)), "NON_FINITE"),
    ("FP16 infinity", framed(raw_image(32, datatype="FP16"), b"\0" * 30 + b"\0\x7c"), "NON_FINITE"),
    ("1e39 as FP64", framed(raw_image(128, datatype="FP64"), struct.pack("<16d", *[1e39] * 16)), "NUMBER_RANGE"),
    ("a text cut", framed(raw_text(5), struct.pack("<I", 2) + b"a", path=TEXT), "BINARY_FRAME"),
    ("half a text length", framed(raw_text(3), b"\0\0\0", path=TEXT), "BINARY_FRAME"),
    ("a text of 4 GB", framed(raw_text(5), struct.pack("<I", 2**32 - 1) + b"a", path=TEXT), "BINARY_FRAME"),
    ("a text too many", framed(raw_text(8), struct.pack("<II", 0, 0), path=TEXT), "BINARY_FRAME"),
    ("a text too few", framed(raw_text(4, 2), struct.pack("<I", 0), path=TEXT), "BINARY_FRAME"),
    ("a text that is no UTF-8", framed(raw_text(5), struct.pack("<I", 1) + b"\xff", path=TEXT), "ENCODING"),
    ("a text that is a surrogate", framed(raw_text(7), struct.pack("<I", 3) + b"\xed\xa0\x80", path=TEXT), "ENCODING"),
]


@pytest.mark.parametrize(
    ("request_bytes", "code"), [row[1:] for row in FRAMES], ids=[row[0].replace(" ", "-") for row in FRAMES]
)
def test_a_frame_that_is_wrong_is_refused_by_its_code(kinds_service: Running, request_bytes: bytes, code: str) -> None:
    """Before anything of the size that it claims is made."""
    check(exchange(kinds_service, request_bytes), code, v2=True)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=UTF-8", 200),
        ("application/octet-stream", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json; charset=latin-1", 415),
        (MARKER, 415),
    ],
)
def test_a_body_says_json_or_bytes_or_nothing(kinds_service: Running, content_type: str, status: int) -> None:
    """The stock clients send JSON as bytes or without a type; what a browser's form can send is refused."""
    answer = exchange(kinds_service, post(PATH, asking(), f"Content-Type: {content_type}"))
    if status == 200:
        assert answer.status == 200
    else:
        check(answer, "MEDIA_TYPE", v2=True)
    assert exchange(kinds_service, post(PATH, asking(), "X-Nothing: 1")).status == 200
    check(exchange(kinds_service, post(PATH, asking(), "Content-Encoding: gzip")), "CONTENT_ENCODING", v2=True)


UNKNOWN = ("none", "tiny/versions/9", "tiny/versions/0", "tiny/versions/01", "..%2ftiny", "%2e%2e", "tiny%00", MARKER)


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_no_trick_in_a_path_reaches_more_than_the_served_names(kinds_service: Running, name: str, method: str) -> None:
    """Names and versions are looked up, never opened."""
    paths = [f"/v2/models/{name}/infer"] if method == "POST" else [f"/v2/models/{name}", f"/v2/models/{name}/ready"]
    for path in paths:
        request = post(path, asking()).replace(b"POST", method.encode(), 1)
        check(exchange(kinds_service, request), "MODEL_NOT_FOUND", v2=True)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", PATH), ("GET", "/v2/repository/index"), ("POST", "/v2"), ("DELETE", "/v2/models/tiny")],
)
def test_a_wrong_method_is_told_the_right_ones(kinds_service: Running, method: str, path: str) -> None:
    """405 with `Allow`, in the protocol's media type."""
    answer = exchange(kinds_service, f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    check(answer, "METHOD_NOT_ALLOWED", v2=True)
    assert "OPTIONS" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"[]", "TYPE"), (b'{"ready": 1}', "TYPE"), (b'{"x": 1}', "UNKNOWN_FIELD"), (b"{", "JSON_INVALID")],
)
def test_an_index_of_something_else_is_refused(kinds_service: Running, body: bytes, code: str) -> None:
    """Also a body of more than it could need."""
    check(exchange(kinds_service, post("/v2/repository/index", body)), code, v2=True)
    check(exchange(kinds_service, post("/v2/repository/index", b" " * 5000)), "BODY_TOO_LARGE", v2=True)
