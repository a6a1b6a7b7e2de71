"""MLServer with the same graph: V2 bodies in, probabilities out, in batches as its documentation shows.

    python mlserver_server.py MODEL.onnx --port PORT

Runs in an environment of its own, with `mlserver` and `onnxruntime`.
"""

from __future__ import annotations

import asyncio
import sys

import onnxruntime
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse


class Classifier(MLModel):
    """In MLServer's own process, as `parallel_workers=0` has it."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = self.settings.parameters.uri if self.settings.parameters else None
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype("float32").reshape(-1, *self._input.shape[1:])
        (probabilities,) = self._session.run(["probabilities"], {self._input.name: rows})
        outputs = [NumpyCodec.encode_output("probabilities", probabilities)]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def main() -> None:
    port = int(sys.argv[sys.argv.index("--port") + 1])
    settings = Settings(
        host="127.0.0.1", http_port=port, grpc_port=port + 1, metrics_endpoint=None, parallel_workers=0, debug=False
    )
    model = ModelSettings(
        name="mnist",
        implementation=Classifier,
        parameters=ModelParameters(uri=sys.argv[1]),
        max_batch_size=64,
        max_batch_time=0.001,
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main())
