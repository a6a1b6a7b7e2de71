"""LitServe with the same graph: V1 bodies in, probabilities out, in batches as its documentation shows.

    python litserve_server.py MODEL.onnx --port PORT

Runs in an environment of its own, with `litserve`, `onnxruntime` and `numpy`.
"""

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Classifier(litserve.LitAPI):
    """One process beside LitServe's own, which speaks HTTP."""

    def setup(self, device: str) -> None:  # noqa: ARG002  # LitServe's signature
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]

    def decode_request(self, request) -> Any:  # type: ignore[no-untyped-def]  # LitServe makes a query parameter of an annotation
        return np.array(request["instances"], dtype=np.float32).reshape(-1, *self._input.shape[1:])

    def batch(self, inputs: list[Any]) -> Any:
        self._sizes = [len(rows) for rows in inputs]
        return np.concatenate(inputs)

    def predict(self, rows: Any) -> Any:
        return self._session.run(["probabilities"], {self._input.name: rows})[0]

    def unbatch(self, output: Any) -> list[Any]:
        return np.split(output, np.cumsum(self._sizes)[:-1])

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    api = Classifier(max_batch_size=64, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[sys.argv.index("--port") + 1]), generate_client_file=False, log_level="error")
