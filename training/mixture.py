"""Logits of a linear model and of a perceptron, trained side by side → one answer, mixed as held-out rows say."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training import calibration, metrics

Floats = npt.NDArray[np.floating]
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_PRECISION = 0.01
_SMALLEST_SHARE = 1e-6


class Mixture(nn.Module):
    """logits = share · linear + (1 - share) · perceptron, and the linear model's bias.

    Each part has a loss of its own: under one joint loss the perceptron fits the rows first and starves the linear
    part, and the answer is worse than either. Share and temperature, fitted on rows held out, then weigh the two.

    Shape:
        - Inputs: float32 [N, K] twice
        - Output: float32 [N, K]
    """

    share: Tensor

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias.clone())
        self.register_buffer("share", torch.tensor(0.5))

    @classmethod
    def start_at(cls, shares: Tensor) -> Self:
        """The linear model answers with the classes' shares, float32 [K], before any evidence."""
        return cls(shares.clamp(min=_SMALLEST_SHARE).log())

    def forward(self, deep: Tensor, wide: Tensor) -> Tensor:
        return self.share * wide + (1.0 - self.share) * deep


def fit_share(deep: Floats, wide: Floats, labels: npt.NDArray[np.int64]) -> float:
    """The share of `wide`, 0 to 1, with the least log loss at its own best temperature, to 0.01.

    In both factors the log loss is convex, so along the share it has one valley: golden section.

    Args:
        deep: float [N, K], the perceptron's logits of rows that the weights were not fitted on.
        wide: float [N, K], the linear model's.
        labels: int64 [N].
    """

    def loss(share: float) -> float:
        mixed = share * wide + (1.0 - share) * deep
        return metrics.log_loss(mixed / calibration.fit_temperature(mixed, labels), labels)

    low, high = 0.0, 1.0
    left, right = high - _GOLDEN, low + _GOLDEN
    at_left, at_right = loss(left), loss(right)
    while high - low > _PRECISION:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return (low + high) / 2.0
