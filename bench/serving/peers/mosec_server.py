"""mosec with the same graph: V1 bodies in, probabilities out, in batches as its documentation shows.

    python mosec_server.py MODEL.onnx --port PORT

Runs in an environment of its own, with `mosec`, `onnxruntime`, `numpy` and `orjson`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import onnxruntime
import orjson
from mosec import Server, Worker

MODEL = "BENCH_MODEL"


class Classifier(Worker):
    """One process beside mosec's own, which speaks HTTP and collects the batches."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ[MODEL], options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]

    def deserialize(self, data: bytes) -> Any:
        return np.array(orjson.loads(data)["instances"], dtype=np.float32).reshape(-1, *self._input.shape[1:])

    def forward(self, data: list[Any]) -> list[Any]:
        (probabilities,) = self._session.run(["probabilities"], {self._input.name: np.concatenate(data)})
        return np.split(probabilities, np.cumsum([len(rows) for rows in data])[:-1])

    def serialize(self, data: Any) -> bytes:
        return orjson.dumps({"predictions": data}, option=orjson.OPT_SERIALIZE_NUMPY)


if __name__ == "__main__":
    os.environ[MODEL] = sys.argv.pop(1)  # mosec reads the other arguments, and starts workers by running this file
    server = Server()
    server.append_worker(Classifier, num=1, max_batch_size=64, max_wait_time=1, env=[{MODEL: os.environ[MODEL]}])
    server.run()
