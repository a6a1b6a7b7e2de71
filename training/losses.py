"""Losses: functions from logits and labels to one number, in a named table.

All take logits, never probabilities: the softmax is inside the loss, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log likelihood in nats; its gradient in the logits is (p − y) / N.

    Args:
        logits: float32 [N, K].
        labels: int64 [N].
    """
    return functional.cross_entropy(logits, labels)


def squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over rows of Σ (p − y)², the Brier score. Its gradient starves confident wrong rows; see docs/softmax.md."""
    probabilities = torch.softmax(logits, dim=1)
    targets = functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return (probabilities - targets).square().sum(dim=1).mean()


LOSSES: Mapping[str, Loss] = MappingProxyType({"cross_entropy": cross_entropy, "squared_error": squared_error})
