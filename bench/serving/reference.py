"""The reference of the benchmark: what one writes by hand for speed, without any check.

Raw ASGI on uvicorn (uvloop, httptools), orjson, numpy, onnxruntime with one thread. No FastAPI, no validation, no
request ids, no labels, no metrics, no batching: a body in, probabilities out.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import orjson
import uvicorn

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Json:
    """The V1 body of an image model: {"instances": [[…], …]} → {"predictions": [[…], …]}."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]

    async def __call__(self, _scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body = await read(receive)
        rows = np.array(orjson.loads(body)["instances"], dtype=np.float32).reshape(-1, *self._input.shape[1:])
        (probabilities,) = self._session.run(["probabilities"], {self._input.name: rows})
        answer = orjson.dumps({"predictions": probabilities}, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


PROTOCOLS = {"json": Json}


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
        PROTOCOLS[arguments.protocol](arguments.model),
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
