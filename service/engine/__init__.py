"""Which versions serve, and the onnxruntime session of each."""
