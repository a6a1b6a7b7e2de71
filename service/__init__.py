"""service: an artifact → probabilities over HTTP."""

import os

# onnxruntime ≥ 1.29 sends telemetry by default on Linux and decides when it is imported. The package's own
# first lines run before any module of the service, so no order of imports can get ahead of them.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
