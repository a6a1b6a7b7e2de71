"""The references of the benchmark: what one writes by hand for speed, without any check.

Raw ASGI on uvicorn (uvloop, httptools), orjson, numpy, onnxruntime with one thread. No FastAPI, no validation, no
request ids, no labels, no metrics, no batching: a body in, probabilities out.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import orjson
import uvicorn

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Array = npt.NDArray[Any]

_HEADER = b"inference-header-content-length"


class Json:
    """The V1 body of an image model: {"instances": [[…], …]} → {"predictions": [[…], …]}."""

    dtype: npt.DTypeLike = np.float32
    media_type = b"application/json"

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        rows = self.rows(await read(receive), scope)
        (probabilities,) = self._session.run(["probabilities"], {self._input.name: rows})
        answer = self.answer(probabilities)
        headers = [(b"content-type", self.media_type), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def rows(self, body: bytes, _scope: dict[str, Any]) -> Array:
        return np.array(orjson.loads(body)["instances"], dtype=self.dtype).reshape(-1, *self._input.shape[1:])

    def answer(self, probabilities: Array) -> bytes:
        return orjson.dumps({"predictions": probabilities}, option=orjson.OPT_SERIALIZE_NUMPY)


class Bytes(Json):
    """The same for a graph that takes uint8, for which numpy's conversion is cheaper."""

    dtype = np.uint8

    def __init__(self, model: bytes) -> None:
        super().__init__(_taking_bytes(model))


class Texts(Json):
    """{"instances": ["…", …]} → code points, zero padded, as the graph takes them."""

    def rows(self, body: bytes, _scope: dict[str, Any]) -> Array:
        texts = orjson.loads(body)["instances"]
        return np.array(texts, dtype=np.str_).view(np.int32).reshape(len(texts), -1)


class Binary(Json):
    """float32 behind the JSON part of a V2 body, which is not read, → float32."""

    media_type = b"application/octet-stream"

    def rows(self, body: bytes, scope: dict[str, Any]) -> Array:
        start = int(dict(scope["headers"])[_HEADER])
        return np.frombuffer(body, np.float32, offset=start).reshape(-1, *self._input.shape[1:])

    def answer(self, probabilities: Array) -> bytes:
        return probabilities.tobytes()


PROTOCOLS = {"json": Json, "uint8": Bytes, "texts": Texts, "binary": Binary}


def _taking_bytes(model: bytes) -> bytes:
    """The same graph behind a cast from uint8."""
    document = onnx.load_model_from_string(model)
    graph = document.graph
    given = graph.input[0]
    cast = onnx.helper.make_node("Cast", ["bytes"], [given.name], to=onnx.TensorProto.FLOAT)
    shape = [size.dim_param or size.dim_value for size in given.type.tensor_type.shape.dim]
    graph.node.insert(0, cast)
    graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("bytes", onnx.TensorProto.UINT8, shape))
    return document.SerializeToString()


async def read(receive: Receive) -> bytes:
    """The whole body."""
    message = await receive()
    if not message["more_body"]:
        return bytes(message["body"])
    parts = [message["body"]]
    while message["more_body"]:
        message = await receive()
        parts.append(message["body"])
    return b"".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="an ONNX file")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="json")
    arguments = parser.parse_args()
    config = uvicorn.Config(
        PROTOCOLS[arguments.protocol](arguments.model.read_bytes()),
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        interface="asgi3",
        lifespan="off",
        access_log=False,
        log_level="error",
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
