"""Hidden values → a vector and a bias a class, in one piece, in chunks, or as a loss that never makes all logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.heads.chunked import parts
from training.heads.head import Head

HeadLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(hidden [N, H], weight [K, H], bias [K, 1], labels [N]) → 0-d."""

_SMALLEST_SHARE = 1e-9


class Linear(Head):
    """Logits = hidden · weight + bias.

    Args:
        name: in the table of heads.
        width: H.
        shares: float32 [K], how frequent each class is in the training split; its logarithms are the first biases.
        loss: of hidden values, weight, bias and labels.
        is_sparse: whether the loss has gradients for a few classes only.
    """

    def __init__(self, name: str, width: int, shares: Tensor, loss: HeadLoss, *, is_sparse: bool = False) -> None:
        super().__init__(name, width, len(shares))
        self.is_sparse = is_sparse
        self.weight = nn.Parameter(torch.randn(len(shares), width).mul_(0.1 / math.sqrt(width)))
        self.bias = nn.Parameter(first_bias(shares).unsqueeze(1))
        self._loss = loss

    @property
    def rank_width(self) -> int:
        return self.width

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.weight, self.bias.squeeze(1))

    def chunks(self, hidden: Tensor, size: int) -> Iterator[tuple[slice, Tensor]]:
        for part in parts(self.classes, size):
            yield part, torch.addmm(self.bias[part, 0], hidden, self.weight[part].T)

    def true_logits(self, hidden: Tensor, labels: Tensor) -> Tensor:
        return (hidden * self.weight[labels]).sum(dim=1) + self.bias[labels, 0]

    def tempered(self, hidden: Tensor, temperature: Tensor) -> Tensor:
        # The hidden values are divided rather than the logits, which are a thousand times as many.
        return functional.linear(hidden / temperature, self.weight, self.bias.squeeze(1) / temperature)

    def vectors(self) -> tuple[Tensor, Tensor]:
        return self.weight.detach(), self.bias.detach().squeeze(1)

    def loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        return self._loss(hidden, self.weight, self.bias, labels)


def first_bias(shares: Tensor) -> Tensor:
    """float32 [K]: the logarithms of the classes' shares, the answer before any evidence."""
    return shares.clamp(min=_SMALLEST_SHARE).log()
