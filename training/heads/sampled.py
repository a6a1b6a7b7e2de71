"""Hidden values and class vectors → a sampled softmax, whose cost and gradient are those of a few thousand classes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Sampled:
    """Cross-entropy against negatives drawn from the class frequencies (Bengio & Senécal 2008; Jean et al. 2015).

    S negatives are drawn with replacement from q. A class that came c times has log c - log(S · q) added to its logit,
    so that the sum over the sample estimates that over all other classes without bias; the row's own class is not
    corrected, because it is always there, and is left out of the negatives where it was drawn ("accidental hit").
    The loss is a training signal only: what is reported as log loss is computed over all classes.

    Args:
        shares: float [K], how frequent each class is; all above 0.
        negatives: how many classes are drawn in a step (S).
    """

    def __init__(self, shares: Tensor, negatives: int) -> None:
        self.negatives = negatives
        self._cumulative = shares.double().cumsum(dim=0)
        self._log_expected = (shares.double() / self._cumulative[-1]).log().add_(math.log(negatives)).float()

    def __call__(self, hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
        """The mean over the batch, in nats; gradients of `weight` and `bias` are sparse, each touched row once.

        Args:
            hidden: float [N, H].
            weight: float [K, H].
            bias: float [K, 1].
            labels: int64 [N].
        """
        drawn, counts = torch.unique(self._draw(), return_counts=True)
        rows, places = torch.unique(torch.cat([labels, drawn]), return_inverse=True)
        own, others = places[: len(labels)], places[len(labels) :]
        correction = torch.full_like(rows, -torch.inf, dtype=hidden.dtype)
        correction[others] = (counts.log() - self._log_expected[drawn]).to(hidden.dtype)
        loss: Tensor = _Sampled.apply(hidden, weight, bias, rows, own, correction)  # type: ignore[no-untyped-call]  # torch's
        return loss

    def _draw(self) -> Tensor:
        """int64 [S], from the process's random state, which the loop seeds epoch by epoch."""
        points = torch.rand(self.negatives, dtype=torch.float64).mul_(self._cumulative[-1])
        return torch.searchsorted(self._cumulative, points, right=True).clamp_(max=len(self._cumulative) - 1)


class _Sampled(torch.autograd.Function):
    """Forward and backward by hand: the probabilities of the forward pass become the errors in place."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, *layer: Tensor) -> Tensor:
        weight, bias, rows, own, correction = layer
        vectors, own = weight.index_select(0, rows), own.unsqueeze(1)
        logits = torch.addmm(bias.index_select(0, rows).squeeze(1), hidden, vectors.T)
        true = logits.gather(1, own)
        logits.add_(correction).scatter_(1, own, true)
        log_partition = torch.logsumexp(logits, dim=1, keepdim=True)
        errors = logits.sub_(log_partition).exp_().scatter_add_(1, own, torch.full_like(true, -1.0)).div_(len(hidden))
        ctx.save_for_backward(hidden, vectors, errors, rows)
        ctx.classes = len(weight)
        return (log_partition - true).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        hidden, vectors, errors, rows = ctx.saved_tensors
        errors = errors * scale
        by_weight = _sparse(rows, errors.T @ hidden, ctx.classes)
        by_bias = _sparse(rows, errors.sum(dim=0).unsqueeze(1), ctx.classes)
        return errors @ vectors, by_weight, by_bias, None, None, None


def _sparse(rows: Tensor, values: Tensor, classes: int) -> Tensor:
    """[K, …] with these rows, each there once and in order, so that nobody need sort them again."""
    return torch.sparse_coo_tensor(
        rows.unsqueeze(0), values, (classes, values.shape[1]), is_coalesced=True, check_invariants=False
    )
