"""A fresh last layer and the training rows → class vectors that point to where each class's rows lie."""

from __future__ import annotations

import torch

from training.data.dataset import Dataset
from training.features import columns
from training.heads.linear import Linear
from training.many import judging
from training.model import Classifier

_ROWS = 1024
_SMALLEST_VARIANCE = 1e-6


@torch.no_grad()
def imprint(model: Classifier, dataset: Dataset) -> float:
    """Set each class's vector to a · h and its bias to -a · |h|² / 2, h the mean of its hidden values; returns a.

    These are the logits of equal Gaussians of variance 1 / a around the means; for few rows a class they are far
    ahead of random vectors (after Qi, Brown & Lowe 2018, "Low-shot learning with imprinted weights"). The factor a
    starts at 1 / the means' variance and is then fitted as a temperature is, on the rows that choose the epoch.
    """
    head = model.head
    assert isinstance(head, Linear)  # noqa: S101  # callers know
    _take_means(model, head, dataset)
    first = 1.0 / max(float(head.weight.var(dim=0).mean()), _SMALLEST_VARIANCE)
    head.bias.copy_(torch.linalg.vector_norm(head.weight, dim=1, keepdim=True).square_().mul_(-0.5 * first))
    head.weight.mul_(first)
    factor = 1.0 / judging.fit_temperature(model, dataset, dataset.selection)
    head.weight.mul_(factor)
    head.bias.mul_(factor)
    return first * factor


def _take_means(model: Classifier, head: Linear, dataset: Dataset) -> None:
    """Each class's mean over the training split, every class having rows in it."""
    model.eval()
    head.weight.zero_()
    labels = torch.from_numpy(dataset.train.labels)
    for start in range(0, len(labels), _ROWS):
        rows = slice(start, start + _ROWS)
        hidden = model.hidden(*columns.batch(dataset.inputs, dataset.train, rows))
        head.weight.index_add_(0, labels[rows], hidden)
    head.weight.div_(torch.bincount(labels, minlength=head.classes).clamp(min=1).unsqueeze(1))
