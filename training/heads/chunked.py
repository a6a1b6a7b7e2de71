"""Hidden values and class vectors → the exact cross-entropy, a chunk of the classes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 8192
"""Classes at a time: 256 rows of so many logits are 8 MB, which stay in the cache of most machines."""


def chunked(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, *, chunk: int = CHUNK) -> Tensor:
    """Mean negative log likelihood in nats; never more than N · chunk logits exist.

    The backward pass computes the logits of each chunk again, one matrix product more instead of N · K numbers
    (Wijmans et al. 2025, "Cut your losses in large-vocabulary language models", without its filtering).

    Args:
        hidden: float [N, H].
        weight: float [K, H].
        bias: float [K, 1].
        labels: int64 [N].
        chunk: classes at a time.
    """
    loss: Tensor = _Chunked.apply(hidden, weight, bias, labels, chunk)  # type: ignore[no-untyped-call]  # torch's
    return loss


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, *layer: Any) -> Tensor:
        weight, bias, labels, chunk = layer
        log_partition = torch.full_like(hidden[:, 0], -torch.inf)
        for part in parts(len(weight), chunk):
            logits = torch.addmm(bias[part, 0], hidden, weight[part].T)
            log_partition = torch.logaddexp(log_partition, torch.logsumexp(logits, dim=1))
        ctx.save_for_backward(hidden, weight, bias, labels, log_partition)
        ctx.chunk = chunk
        true = (hidden * weight[labels]).sum(dim=1) + bias[labels, 0]
        loss: Tensor = (log_partition - true).mean()
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, labels, log_partition = ctx.saved_tensors
        by_hidden, by_weight, by_bias = torch.zeros_like(hidden), torch.empty_like(weight), torch.empty_like(bias)
        for part in parts(len(weight), ctx.chunk):
            errors = torch.addmm(bias[part, 0], hidden, weight[part].T)
            errors.sub_(log_partition.unsqueeze(1)).exp_()
            _subtract_truth(errors, labels - part.start)
            errors.mul_(scale / len(labels))
            by_hidden.addmm_(errors, weight[part])
            torch.mm(errors.T, hidden, out=by_weight[part])
            torch.sum(errors, dim=0, out=by_bias[part, 0])
        return by_hidden, by_weight, by_bias, None, None


def parts(classes: int, chunk: int) -> Iterator[slice]:
    """All classes in their order, `chunk` at a time."""
    return (slice(start, min(start + chunk, classes)) for start in range(0, classes, chunk))


def _subtract_truth(probabilities: Tensor, labels: Tensor) -> None:
    """Take 1 from each row's own class where that lies within this chunk: p becomes p - y."""
    rows = ((labels >= 0) & (labels < probabilities.shape[1])).nonzero().squeeze(1)
    probabilities[rows, labels[rows]] -= 1.0
