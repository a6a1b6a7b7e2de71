"""Dataset → artifact, offline, with PyTorch."""
