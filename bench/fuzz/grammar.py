"""A seeded generator of requests that are nearly right: JSON by grammar, raw tensors, mutated bytes, raw HTTP."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MARKER = "s3cretm4rk"
"""Part of values, names and paths; no error may repeat it."""

NUMBERS = (
    "0",
    "-0",
    "1",
    "-1",
    "256",
    "0.5",
    "1e38",
    "1e39",
    "-1e39",
    "1e999",
    "-1e999",
    "1e-400",
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551616",
    "01",
    "1.",
    ".5",
    "+1",
    "0x10",
    "1e",
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "7" * 400,
    "-" + "7" * 5000,
)
STRINGS = (
    '""',
    f'"{MARKER}"',
    '"1.5"',
    '"nan"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"\\u202e"',
    '"é"',
    '"\U0001f600"',
    '"\\x"',
    '"',
    '"a\nb"',
    '"aGVsbG8="',
    '"iVBORw0KGgo="',
    '"' + "a" * 3000 + '"',
    "'a'",
)
LITERALS = ("true", "false", "null", "True", "None", "[]", "{}", "[[]]", "", "//", "[1,]", '{"a":1,}', "\ufeff")
SHAPES: tuple[Any, ...] = (
    [1, 16],
    [1, 4, 4],
    [2, 16],
    [0, 16],
    [-1, 16],
    [10**9, 16],
    [2**63, 1],
    [1.0, 16],
    [True, 16],
    [],
    [1],
    [1, 1],
    [16],
    "x",
    None,
    [1, 2**40],
    [[1]],
    [1] * 50,
    [1, 15],
)
DATATYPES = (
    "FP32",
    "FP64",
    "FP16",
    "UINT8",
    "INT8",
    "INT32",
    "INT64",
    "UINT64",
    "BOOL",
    "BYTES",
    "BF16",
    MARKER,
    "",
    7,
)
TOKENS = (
    b'"instances"',
    b'"parameters"',
    b'"inputs"',
    b'"data"',
    b'"b64"',
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b'"',
    b"\\",
    b"NaN",
    b"1e999",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\0",
    b"\xfe\xff",
    b"\\ud800",
    b"-",
    b"[" * 100,
    b'{"a":' * 50,
    b"9" * 300,
)


@dataclass(frozen=True, slots=True)
class Sent:
    """One request: bytes for the wire, and whether they are one whole HTTP request that must be answered."""

    kind: str
    request: bytes
    is_whole: bool
    is_head: bool = False


class Grammar:
    """Requests of one seed, for the models `tiny` (an image), `table` and `text` of tests/artifacts.py."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # to be repeatable is the point
        self._kinds: tuple[tuple[int, Callable[[], Sent]], ...] = (
            (30, self._v1),
            (25, self._v2),
            (20, self._binary),
            (15, self._bytes),
            (10, self._http),
        )

    def next(self) -> Sent:
        weights = [weight for weight, _ in self._kinds]
        return self._random.choices([make for _, make in self._kinds], weights)[0]()

    # The kinds of request

    def _v1(self) -> Sent:
        model, document = self._v1_document()
        body = self._text(self._changed(document)).encode("utf-8", "surrogatepass")
        return self._framed("V1", self._v1_path(model), body, ["Content-Type: application/json"])

    def _v2(self) -> Sent:
        model, document = self._v2_document()
        body = self._text(self._changed(document)).encode("utf-8", "surrogatepass")
        return self._framed("V2", self._v2_path(model), body, self._v2_type())

    def _binary(self) -> Sent:
        model, document = self._v2_document()
        frames = [self._frame(one) for one in document["inputs"]]
        for one, frame in zip(document["inputs"], frames, strict=True):
            if self._once_in(12):
                continue
            del one["data"]
            size: Any = (
                len(frame) if not self._once_in(6) else self._pick((0, -1, 1.5, True, 10**18, len(frame) + 1, "1"))
            )
            one["parameters"] = {"binary_data_size": size}
        changed = document if self._once_in(2) else self._changed(document)
        text = self._text(changed).encode("utf-8", "surrogatepass")
        raw = b"".join(frames)
        raw = self._mutated(raw) if self._once_in(3) else raw
        length: Any = len(text)
        if self._once_in(5):
            length = self._pick(
                (0, -1, len(text) + 1, len(text) - 1, 10**12, "9" * 400, MARKER, "", len(text + raw), "1.0")
            )
        return self._framed(
            "binary", self._v2_path(model), text + raw, [*self._v2_type(), f"Inference-Header-Content-Length: {length}"]
        )

    def _bytes(self) -> Sent:
        if self._once_in(2):
            model, document = self._v1_document()
            path = self._v1_path(model)
        else:
            model, document = self._v2_document()
            path = self._v2_path(model)
        body = self._mutated(self._pick(SEEDS) if self._once_in(3) else self._text(document).encode())
        return self._framed("bytes", path, body, ["Content-Type: application/json"])

    def _http(self) -> Sent:
        """What the parser of HTTP has to take; the rest of such a connection is not used."""
        model, document = self._v1_document()
        body = self._text(document).encode()
        whole = self._framed("HTTP", self._v1_path(model), body, ["Content-Type: application/json"]).request
        method = self._pick(("POST", "GET", "HEAD", "PUT", "OPTIONS", "DELETE", "TRACE", "BREW", "post", ""))
        path = self._pick((*HTTP_PATHS, self._v1_path(model)))
        line, _, rest = whole.partition(b"\r\n")
        if self._once_in(2):
            line = f"{method} {path} HTTP/{self._pick(('1.1', '1.1', '1.0', '2.0', '9'))}".encode("latin-1")
        if self._once_in(2):
            rest = self._pick(HEADERS) + rest
        request = line + b"\r\n" + rest
        if self._once_in(2):
            request = self._mutated(request) or b"\r\n"
        return Sent("HTTP", request, is_whole=False, is_head=request.startswith(b"HEAD"))

    # Documents that would be answered

    def _v1_document(self) -> tuple[str, dict[str, Any]]:
        model = self._pick(("tiny", "table", "text"))
        rows = {
            "tiny": lambda: self._pick(
                ([7] * 16, [[7] * 4] * 4, {"image": [7] * 16}, {"b64": "aGVsbG8="}, [0.25] * 16)
            ),
            "table": lambda: self._pick(({"age": 3, "city": "Rome"}, [1, None, MARKER], {}, [None, None, None])),
            "text": lambda: self._pick(("banana", "", MARKER * 3, {"text": "a"}, "\0", "\U0001f600")),
        }[model]
        document: dict[str, Any] = {"instances": [rows() for _ in range(self._pick((1, 1, 2, 3, 40, 101)))]}
        if self._once_in(6) and isinstance(document["instances"][0], list):
            row = list(document["instances"][0])
            row[self._random.randrange(len(row))] = Raw(self._pick(NUMBERS))
            document["instances"][-1] = row
        if self._once_in(4):
            document["parameters"] = {
                self._pick(PARAMETERS): self._pick((1, 3, True, 0.9, 0, -1, 1.5, 10**18, "plain", None, 2**63))
                for _ in range(self._pick((0, 1, 2, 3)))
            }
        return model, document

    def _v2_document(self) -> tuple[str, dict[str, Any]]:
        model = self._pick(("tiny", "table", "text"))
        inputs = [dict(one) for one in INPUTS[model]]
        for one in inputs:
            if self._once_in(8):
                one["shape"] = self._pick(SHAPES)
            if self._once_in(8):
                one["datatype"] = self._pick(DATATYPES)
        document: dict[str, Any] = {"inputs": inputs}
        if self._once_in(3):
            document["id"] = self._pick(("a", "", MARKER, 'x"y', "\n", "x" * 300, 7, None))
        if self._once_in(3):
            document["outputs"] = [self._output() for _ in range(self._pick((1, 1, 1, 2, 2, 300)))]
        if self._once_in(3):
            document["parameters"] = {"binary_data_output": self._pick((True, True, False, 1, "true"))}
        return model, document

    def _output(self) -> dict[str, Any]:
        names = ("logits", "probabilities", "label", "out_of_range", MARKER)
        output: dict[str, Any] = {"name": self._pick(names)}
        if self._once_in(2):
            output["parameters"] = {
                "classification": self._pick((1, 2, 10**18, 0, -1, 1.5, True, "1")),
                "binary_data": self._pick((True, False, 0)),
            }
        return output

    def _frame(self, one: dict[str, Any]) -> bytes:
        if one["datatype"] == "BYTES":
            words = [b"banana", b"", "ö".encode(), b"\xff", b"\x89PNG\r\n"]
            return b"".join(struct.pack("<I", len(word)) + word for word in [self._pick(words)])
        layout = {"FP32": "f", "FP64": "d", "FP16": "e", "INT32": "i", "INT64": "q", "UINT8": "B"}
        count = len(one["data"])
        if self._once_in(6):
            return self._random.randbytes(count * 4)
        if one["datatype"] in {"FP32", "FP64"} and self._once_in(6):
            values = [self._pick((1e38, float("nan"), float("inf"), -0.0)) for _ in range(count)]
            return struct.pack(f"<{count}{layout[one['datatype']]}", *values)
        return struct.pack(f"<{count}{layout.get(one['datatype'], 'f')}", *[7] * count)

    # Changes

    def _changed(self, document: Any) -> Any:
        """A copy with a few nodes replaced, removed, repeated or wrapped."""
        for _ in range(self._pick((0, 0, 0, 1, 1, 2, 3))):
            document = self._change(copy.deepcopy(document))
        return document

    def _change(self, document: Any) -> Any:
        node, key = self._place(document)
        if node is None:
            return document
        change = self._random.randrange(6)
        if change <= 1:
            node[key] = Raw(self._pick((*NUMBERS, *STRINGS, *LITERALS)))
        elif change == 2:
            del node[key]
        elif change == 3 and isinstance(node, list):
            node.insert(key, node[key])
        elif change == 3:
            node[self._pick((MARKER, "", "instances", "inputs", "b64", "__proto__", "é"))] = node[key]
        elif change == 4:
            node[key] = [node[key]] * self._pick((1, 1, 2, 8))
        else:
            node[key] = {self._pick((MARKER, "b64", "name")): node[key]}
        return document

    def _place(self, document: Any) -> tuple[Any, Any]:
        """A random container and one of its keys, not too deep."""
        node, key = None, None
        while isinstance(document, dict | list) and document and not (node is not None and self._once_in(3)):
            node = document
            key = self._pick(tuple(document)) if isinstance(document, dict) else self._random.randrange(len(document))
            document = node[key]
        return node, key

    def _text(self, value: Any) -> str:
        """JSON as it is written here: raw pieces as they are, now and then a key twice or odd white space."""
        space = self._pick(("", "", "", " ", "\n", "\t")) if not self._once_in(200) else "\u00a0"
        if isinstance(value, Raw):
            return value.text
        if isinstance(value, dict):
            members = [f"{json.dumps(key)}:{space}{self._text(item)}" for key, item in value.items()]
            if members and self._once_in(300):
                members.append(self._pick(members))
            return "{" + f",{space}".join(members) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(self._text, value)) + "]"
        return json.dumps(value, ensure_ascii=self._once_in(2))

    def _mutated(self, data: bytes) -> bytes:
        found = bytearray(data)
        for _ in range(self._pick((1, 1, 2, 4, 8))):
            at = self._random.randrange(len(found) + 1)
            change = self._random.randrange(6)
            if change == 0:
                found[at : at + 1] = bytes([self._random.randrange(256)])
            elif change == 1:
                found[at:at] = self._pick(TOKENS)
            elif change == 2:
                del found[at : at + self._pick((1, 2, 10))]
            elif change == 3:
                found[at:at] = found[at : at + self._pick((1, 20, 200))]
            elif change == 4 and at < len(found):
                found[at] ^= 1 << self._random.randrange(8)
            elif self._once_in(4):
                del found[at:]
        return bytes(found)

    # HTTP around a body

    def _framed(self, kind: str, path: str, body: bytes, headers: list[str]) -> Sent:
        """A whole request, its body of known length or in chunks."""
        if self._once_in(20):
            headers = [self._pick(("Content-Type: text/plain", "X-Request-ID: " + "é" * 3, "Content-Encoding: gzip"))]
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", *headers]
        if self._once_in(8):
            head = "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode("utf-8")
            return Sent(kind, head + self._chunks(body), is_whole=True)
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("utf-8")
        return Sent(kind, head + body, is_whole=True)

    def _chunks(self, body: bytes) -> bytes:
        size = self._pick((7, 100, 5000))
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    def _v1_path(self, model: str) -> str:
        if self._once_in(30):
            return self._pick(PATHS)
        return self._pick((f"/v1/models/{model}:predict", f"/v1/models/{model}/versions/1:predict", "/predict"))

    def _v2_path(self, model: str) -> str:
        if self._once_in(30):
            return self._pick(PATHS)
        return self._pick((f"/v2/models/{model}/infer", f"/v2/models/{model}/versions/1/infer"))

    def _v2_type(self) -> list[str]:
        return self._pick(([], ["Content-Type: application/json"], ["Content-Type: application/octet-stream"]))

    def _once_in(self, times: int) -> bool:
        return self._random.randrange(times) == 0

    def _pick(self, choices: Any) -> Any:
        return self._random.choice(choices)


class Raw:
    """A piece of text where a JSON value belongs."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __deepcopy__(self, memo: dict[int, object]) -> Raw:
        return self


PARAMETERS = ("top_k", "probabilities", "logits", "coverage", "coverage_method", "abstain", "novelty", MARKER)
INPUTS: dict[str, list[dict[str, Any]]] = {
    "tiny": [{"name": "image", "shape": [1, 16], "datatype": "FP32", "data": [7] * 16}],
    "table": [
        {"name": "age", "shape": [1], "datatype": "FP32", "data": [7]},
        {"name": "seen", "shape": [1, 1], "datatype": "FP64", "data": [1.65e9]},
        {"name": "city", "shape": [1], "datatype": "BYTES", "data": ["Rome"]},
    ],
    "text": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["banana"]}],
}
PATHS = (
    "/v1/models/none:predict",
    f"/v1/models/{MARKER}:predict",
    "/v1/models/..%2ftiny:predict",
    "/v1/models/tiny%00:predict",
    "/v2/models/%E2%80%A4%E2%80%A4/infer",
    "/v2/models/tiny/versions/0/infer",
    f"/v2/models/{MARKER}/infer",
    "/v2/models/tiny/versions/9999999999999999999999/infer",
    "/v2/repository/index",
    "/v2/models//infer",
    "/v2/",
)
HTTP_PATHS = (
    *PATHS,
    "/",
    "/v2",
    "/v2/models/tiny",
    "/v2/models/table/ready",
    "/v2/health/ready",
    "/v1/models/tiny",
    "/docs",
    "/openapi.json",
    "*",
    "//",
    "/%",
    "/\x7f",
    "http://x/predict",
    "/predict?key=" + MARKER,
    "/" + "a" * 9000,
)
HEADERS = (
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 1e3\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"Host: \xff\r\n",
    b"X-Request-ID: a\r\n b\r\n",
    b"X: " + b"y" * 30_000 + b"\r\n",
    b"A: b\r\n" * 500,
    b"\0: x\r\n",
    b": x\r\n",
    b"X\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: x\r\n",
    b"X-Request-ID: \xff\r\n",
    b"Authorization: Bearer x\r\n",
)
ROW = json.dumps([7] * 16).encode()
SEEDS = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"{",
    b"NaN",
    b'{"instances": []}',
    b'{"instances": [[]]}',
    b'{"instances": [[1], [1, 2]]}',
    b'{"instances": [], "instances": [1]}',
    b'{"instances": [{"a": 1, "\\u0061": 2}]}',
    b'{"instances": ["\xff\xfe"]}',
    b"\xef\xbb\xbf{}",
    '{"instances": [1]}'.encode("utf-16"),
    b"[" * 2000 + b"]" * 2000,
    b"[" * 50_000,
    b'{"instances":' + b'[{"a":' * 20_000,
    b'{"instances": [' + ROW + b'], "x": 1}',
    b'{"instances": [' + ROW + b"]} x",
    b'{"instances": [' + ROW.replace(b"7", b"true", 1) + b"]}",
    b'{"instances": [' + ROW.replace(b"7", b"1e39", 1) + b"]}",
    b'{"instances": [' + b"0," * 200 + b"0]}",
    b'{"inputs": [' + b"{}," * 1000 + b"{}]}",
    b" " * 1000,
    b'{"instances": [' + ROW + b'], "parameters": {"top_k": 0, "coverage": 1}}',
)
