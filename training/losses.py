"""Losses: functions from logits and labels to one number, in a named table.

All take logits, never probabilities: the softmax is inside the loss, once. Each can weigh its rows by class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training import config
from training.data.dataset import Indices

Loss = Callable[..., Tensor]
_SMALLEST_MISS = 1e-12


def cross_entropy(logits: Tensor, labels: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Mean negative log likelihood in nats; its gradient in the logits is (p − y) / N.

    Args:
        logits: float32 [N, K].
        labels: int64 [N].
        weights: float32 [K], how much a row of each class counts in the mean.
    """
    return functional.cross_entropy(logits, labels, weight=weights)


def label_smoothing(logits: Tensor, labels: Tensor, *, weights: Tensor | None = None, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy against (1 − smoothing) · one-hot + smoothing / K (Szegedy et al. 2016)."""
    log_p = torch.log_softmax(logits, dim=1)
    rows = (smoothing - 1.0) * _of_truth(log_p, labels) - smoothing * log_p.mean(dim=1)
    return _mean(rows, labels, weights)


def focal(logits: Tensor, labels: Tensor, *, weights: Tensor | None = None, focus: float = 2.0) -> Tensor:
    """Mean of −(1 − p)^focus · log p, p the probability of the true class (Lin et al. 2017)."""
    log_p = _of_truth(torch.log_softmax(logits, dim=1), labels)
    miss = (-torch.expm1(log_p)).clamp(min=_SMALLEST_MISS)
    return _mean(-miss.pow(focus) * log_p, labels, weights)


def logit_norm(
    logits: Tensor, labels: Tensor, *, weights: Tensor | None = None, norm_temperature: float = 0.04
) -> Tensor:
    """Cross-entropy of logits / (temperature · ‖logits‖): confidence cannot grow by length (Wei et al. 2022)."""
    return cross_entropy(functional.normalize(logits, dim=1) / norm_temperature, labels, weights=weights)


def squared_error(logits: Tensor, labels: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Mean over rows of Σ (p − y)², the Brier score. Its gradient starves confident wrong rows; see docs/softmax.md."""
    probabilities = torch.softmax(logits, dim=1)
    targets = functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return _mean((probabilities - targets).square().sum(dim=1), labels, weights)


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "cross_entropy": cross_entropy,
        "focal": focal,
        "label_smoothing": label_smoothing,
        "logit_norm": logit_norm,
        "squared_error": squared_error,
    }
)

_OPTIONS: Mapping[str, str] = MappingProxyType(
    {"focal": "focus", "label_smoothing": "smoothing", "logit_norm": "norm_temperature"}
)


def build(settings: config.Loss, weights: Tensor | None = None) -> Loss:
    """The loss of a run, (logits, labels) → 0-d tensor, with its own setting and the class weights filled in."""
    option = _OPTIONS.get(settings.name)
    options = {option: getattr(settings, option)} if option else {}
    return partial(LOSSES[settings.name], weights=weights, **options)


def with_gradient(loss: Loss, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, 0-d, and its gradient in the logits, float32 [N, K]: without weights (p − y) / N for cross-entropy.

    Args:
        loss: as `build` makes it.
        logits: float32 [N, K], that no gradient is taken of.
        labels: int64 [N].
    """
    if isinstance(loss, partial) and loss.func is cross_entropy and loss.keywords["weights"] is None:
        log_p = torch.log_softmax(logits, dim=1)
        value = functional.nll_loss(log_p, labels)
        return value, log_p.exp_().scatter_(1, labels.unsqueeze(1), -1.0, reduce="add").div_(len(labels))
    leaf = logits.detach().requires_grad_()
    with torch.enable_grad():
        value = loss(leaf, labels)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient


def class_weights(settings: config.Loss, labels: Indices, classes: int) -> Tensor | None:
    """float32 [K] with mean 1 over the rows (`balanced`: rows / (K · rows of the class)), or None for no weights."""
    if settings.class_weights == "none":
        return None
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    return torch.from_numpy((len(labels) / (classes * counts)).astype(np.float32))


def _of_truth(values: Tensor, labels: Tensor) -> Tensor:
    """[N]: of each row of [N, K], the value of the true class."""
    return values.gather(1, labels.unsqueeze(1)).squeeze(1)


def _mean(rows: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of [N], each row weighed by its class, as torch's cross-entropy does."""
    if weights is None:
        return rows.mean()
    weight = weights.to(rows.dtype)[labels]
    return (rows * weight).sum() / weight.sum()
