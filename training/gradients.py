"""Labelled rows → the gradient of every weight, those of the perceptron side by side in one buffer.

Clearing, measuring and clipping the buffer is one operation each, where a tensor at a time costs a small network more
than its arithmetic. A plain perceptron is differentiated by hand, straight into the buffer, all else by autograd.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from training.clipping import TENSOR_BY_TENSOR
from training.losses import Loss, with_gradient
from training.model import Classifier
from training.perceptron import Perceptron

_COLUMNS = 1024


class Gradients:
    """The `.grad` of a classifier's weights, once it is settled which of them are trained.

    Those of `model.mlp` get a view of the buffer, so nobody else may set them. The others, such as the sparse ones of
    a text's tables, come new from autograd in every step.
    """

    def __init__(self, model: Classifier) -> None:
        self._model = model
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        joined = [weight for weight in model.mlp.parameters() if weight.requires_grad]
        self._buffer = _joined(joined)
        ours = {id(weight) for weight in joined}
        self._others = [weight for weight in self._weights if id(weight) not in ours]
        is_alone = not self._others and model.mixture is None and model.head is None
        self._perceptron = Perceptron.of(model.mlp) if is_alone else None

    def fill(self, batch: Sequence[Tensor], labels: Tensor, loss: Loss) -> Tensor:
        """Forward and backward: every gradient is that of this batch. Returns the loss, 0-d.

        Args:
            batch: one tensor an input, [N, …], or `Bags` for a text.
            labels: int64 [N].
            loss: (logits, labels) → 0-d; the sum over its parts where a model has several.
        """
        if self._perceptron is None:
            return self._by_autograd(batch, labels, loss)
        with torch.no_grad():
            passed = self._perceptron.forward(self._model.features(*batch))
            value, gradient = with_gradient(loss, passed.logits, labels)
            self._perceptron.backward(passed, gradient)
        return value

    def seen_by(self, rule: str) -> Sequence[nn.Parameter]:
        """What a clipping rule is given: the weights, or the buffer as one where it tells no tensor from another."""
        return self._weights if rule in TENSOR_BY_TENSOR else [self._buffer, *self._others]

    def _by_autograd(self, batch: Sequence[Tensor], labels: Tensor, loss: Loss) -> Tensor:
        self._clear()
        if self._model.head is not None:
            return self._of_head(batch, labels)
        value = reduce(add, (loss(logits, labels) for logits in self._model.parts(*batch)))
        value.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        return value.detach()

    def _of_head(self, batch: Sequence[Tensor], labels: Tensor) -> Tensor:
        """A last layer that stands apart has a loss of its own, which need not make all logits."""
        assert self._model.head is not None  # noqa: S101  # the caller looks
        value = self._model.head.loss(self._model.hidden(*batch), labels)
        value.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        return value.detach()

    def _clear(self) -> None:
        assert self._buffer.grad is not None  # noqa: S101  # as made below
        self._buffer.grad.zero_()
        for weight in self._others:
            weight.grad = None


def _joined(weights: Sequence[nn.Parameter]) -> nn.Parameter:
    """Move the weights into one buffer, give each a `.grad` in another, and return both as one parameter.

    The matrices come first, so that an optimizer that lets them decay finds them side by side, and the biases too. The
    buffers have rows, the last one filled up with zeros, because norms are exact row by row.
    """
    device = weights[0].device if weights else None
    ordered = sorted(weights, key=lambda weight: weight.dim() == 1)
    sizes = [weight.numel() for weight in ordered]
    values, gradients = torch.zeros(2, -(-sum(sizes) // _COLUMNS), _COLUMNS, device=device)
    parts = (torch.split(buffer.view(-1)[: sum(sizes)], sizes) for buffer in (values, gradients))
    for weight, value, gradient in zip(ordered, *parts, strict=True):
        weight.data = value.view_as(weight).copy_(weight.detach())
        weight.grad = gradient.view_as(weight)
    whole = nn.Parameter(values)
    whole.grad = gradients
    return whole
