"""What is asked of the servers: bodies, connections, and the ratio that is wanted."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

TEXTS = Path(__file__).parents[2] / "examples" / "banking77" / "test-sample.csv"
_TEXT_LENGTH, _TEXT_COUNT = 60, 64
_JSON = (("Content-Type", "application/json"),)


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of request, asked over and over.

    Attributes:
        bodies: sent in turn.
        must, aim: ratios of requests a second to the reference's; None where none was set.
        reference: its protocol, see `reference.PROTOCOLS`, or a peer's file.
        model: whose graph both servers run.
        is_busy: whether a server's core should be; one connection at a time leaves it idle between requests.
    """

    name: str
    connections: int
    bodies: Sequence[bytes]
    must: float | None
    aim: float | None
    reference: str = "json"
    model: str = "mnist"
    their_path: str = "/"
    our_path: str = "/predict"
    headers: tuple[tuple[str, str], ...] = _JSON
    is_busy: bool = True


def works(text_model: str) -> tuple[Work, ...]:
    """All that is compared with the hand-written apps."""
    pixels = _pixels(256)
    binary, headers = _binary(pixels)
    texts = [_dump({"instances": [text]}) for text in _texts()]
    return (
        Work("one row, 64 connections", 64, [_rows(pixels[:1])], must=1.6, aim=2.0),
        Work("32 rows, 16 connections", 16, [_rows(pixels[:32])], must=1.9, aim=2.2),
        Work("32 rows, 16 connections; their graph takes uint8", 16, [_rows(pixels[:32])], 1.6, 1.9, "uint8"),
        Work(
            "256 rows, binary V2, 4 connections",
            4,
            [binary],
            must=0.85,
            aim=0.95,
            reference="binary",
            our_path="/v2/models/mnist/infer",
            headers=headers,
        ),
        Work("one row, one connection", 1, [_rows(pixels[:1])], must=0.75, aim=1.0, is_busy=False),
        Work(
            f"a text of {_TEXT_LENGTH} characters, 64 connections",
            64,
            texts,
            must=1.3,
            aim=2.0,
            reference="texts",
            model=text_model,
            our_path=f"/v1/models/{text_model}:predict",
        ),
    )


def peers() -> tuple[Work, ...]:
    """What is compared with other servers; each speaks the protocol that it has."""
    pixels = _pixels(32)
    paths = {"mosec": ("/inference", "/predict"), "litserve": ("/predict", "/predict"), "mlserver": (_V2, _V2)}
    return tuple(
        Work(
            f"{peer}: {_counted(count)}, {connections} connections",
            connections,
            [_v2(pixels[:count]) if their_path == _V2 else _rows(pixels[:count])],
            must=None,
            aim=None,
            reference=peer,
            their_path=their_path,
            our_path=our_path,
        )
        for peer, (their_path, our_path) in paths.items()
        for count, connections in ((1, 64), (32, 16))
    )


_V2 = "/v2/models/mnist/infer"
Pixels = npt.NDArray[np.int64]


def _counted(rows: int) -> str:
    return "one row" if rows == 1 else f"{rows} rows"


def _pixels(count: int) -> Pixels:
    """Digits as sparse as MNIST's, the same for all: [count, 784]."""
    generator = np.random.default_rng(0)
    pixels: Pixels = generator.integers(1, 256, size=(count, 784)) * (generator.random((count, 784)) < 0.19)
    return pixels


def _dump(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _rows(pixels: Pixels) -> bytes:
    return _dump({"instances": pixels.tolist()})


def _v2(pixels: Pixels) -> bytes:
    data = pixels.reshape(-1).tolist()
    tensor = {"name": "image", "shape": list(pixels.shape), "datatype": "FP32", "data": data}
    return _dump({"inputs": [tensor], "outputs": [{"name": "probabilities"}]})


def _binary(pixels: Pixels) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """A V2 body with the tensor behind it, and its headers."""
    frame = pixels.astype("<f4").tobytes()
    parameters = {"binary_data_size": len(frame)}
    tensor = {"name": "image", "shape": list(pixels.shape), "datatype": "FP32", "parameters": parameters}
    wanted = {"name": "probabilities", "parameters": {"binary_data": True}}
    document = _dump({"inputs": [tensor], "outputs": [wanted]})
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(document))}
    return document + frame, tuple(headers.items())


def _texts() -> list[str]:
    """Customers' questions in a row, cut to one length each."""
    with TEXTS.open(newline="") as file:
        whole = " ".join(row["text"] for row in csv.DictReader(file))
    return [whole[start : start + _TEXT_LENGTH] for start in range(0, _TEXT_COUNT * _TEXT_LENGTH, _TEXT_LENGTH)]
