"""Hidden values → logits of many classes, in one piece, in chunks, or as a loss that never makes them all."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training import config
from training.heads.table import HEADS

_SMALLEST_SHARE = 1e-9


class Head(nn.Module):
    """A vector and a bias a class, and how they are trained.

    Shape:
        - Input: float32 [N, H]
        - Output: float32 [N, K], the logits

    Args:
        width: H.
        shares: float32 [K], how frequent each class is in the training split; its logarithms are the first biases.
        settings: the `[head]` section, its name chosen.
    """

    def __init__(self, width: int, shares: Tensor, settings: config.Head) -> None:
        super().__init__()
        self.name = settings.name
        self.weight = nn.Parameter(torch.randn(len(shares), width).mul_(0.1 / math.sqrt(width)))
        self.bias = nn.Parameter(shares.clamp(min=_SMALLEST_SHARE).log().unsqueeze(1))
        self._loss = HEADS[settings.name](settings, shares)

    @property
    def classes(self) -> int:
        return len(self.weight)

    @property
    def is_sparse(self) -> bool:
        """Whether a step touches, and costs, a few rows only."""
        return self.name == "sampled"

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.weight, self.bias.squeeze(1))

    def logits(self, hidden: Tensor, classes: slice) -> Tensor:
        """Those of some classes: float32 [N, classes]."""
        return torch.addmm(self.bias[classes, 0], hidden, self.weight[classes].T)

    def true_logits(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Of each row the one of its own class: float32 [N]."""
        return (hidden * self.weight[labels]).sum(dim=1) + self.bias[labels, 0]

    def loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """What is minimized: 0-d, in nats. Of the sampled head an estimate, never to be reported as the log loss."""
        return self._loss(hidden, self.weight, self.bias, labels)
