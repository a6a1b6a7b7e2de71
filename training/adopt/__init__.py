"""A classifier that another tool has trained, as an ONNX file → an artifact like those of training."""
