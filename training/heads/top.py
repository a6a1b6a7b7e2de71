"""Hidden values → the most probable classes and the logarithm of the partition sum: the graph of many classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.model import Calibrated

TOP = 100
"""Classes that a graph answers, at most."""

OUTPUTS = ("top_indices", "top_probabilities", "log_partition")


class Top(Calibrated):
    """What is exported: raw columns → the k most probable classes, k = min(K, 100), after the temperature.

    Shape:
        - Inputs: as `Calibrated`
        - Output: int64 [N, k] classes, float32 [N, k] their probabilities, falling, and float32 [N], the logarithm of
          the sum over all classes of exp(logit / temperature)
    """

    def forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        head = self.classifier.head
        assert head is not None  # noqa: S101  # callers know
        # The hidden values are divided rather than the logits, which are a thousand times as many.
        hidden = self.classifier.hidden(*columns) / self.temperature
        logits = functional.linear(hidden, head.weight, head.bias.squeeze(1) / self.temperature)
        highest, classes = torch.topk(logits, min(TOP, head.classes), dim=1)
        maximum = highest[:, :1]
        # onnxruntime's ReduceLogSumExp is slow and imprecise.
        log_partition = maximum + (logits - maximum).exp().sum(dim=1, keepdim=True).log()
        return classes, (highest - log_partition).exp(), log_partition.squeeze(1)
