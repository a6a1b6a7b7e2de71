"""Hidden values and class vectors → the cross-entropy over all classes at once, as torch computes it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def full(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log likelihood in nats; holds all N · K logits and their gradient.

    Args:
        hidden: float [N, H].
        weight: float [K, H].
        bias: float [K, 1].
        labels: int64 [N].
    """
    return functional.cross_entropy(functional.linear(hidden, weight, bias.squeeze(1)), labels)
