"""Hidden values → the most probable classes and the logarithm of the partition sum: the graph of many classes."""

from __future__ import annotations

import torch
from torch import Tensor

from training.model import Calibrated

TOP = 100
"""Classes that a graph answers, at most."""

OUTPUTS = ("top_indices", "top_probabilities", "log_partition")

_PART = 1024
"""Of a row of a million there are as many parts as numbers in each."""


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
        logits = head.tempered(self.classifier.hidden(*columns), self.temperature)
        highest, classes = torch.topk(logits, min(TOP, head.classes), dim=1)
        maximum = highest[:, :1]
        # onnxruntime's ReduceLogSumExp is slow and imprecise.
        log_partition = maximum + _total((logits - maximum).exp()).log()
        return classes, (highest - log_partition).exp(), log_partition.squeeze(1)


def _total(powers: Tensor) -> Tensor:
    """The sum of each row, float32 [N, K] → [N, 1], by parts of it.

    onnxruntime adds a row up one after another, and beside 1 a float32 loses what is below 6e-8, as most of very many
    classes are: of 100,000 that cost 6e-5 of the sum.
    """
    parts = powers.shape[1] // _PART
    if parts < 2:
        return powers.sum(dim=1, keepdim=True)
    whole = powers[:, : parts * _PART].reshape(-1, parts, _PART).sum(dim=2)
    return whole.sum(dim=1, keepdim=True) + powers[:, parts * _PART :].sum(dim=1, keepdim=True)
