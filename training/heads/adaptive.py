"""Hidden values → logits of frequent classes at full width, and of rare ones in clusters of smaller width."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.heads.head import Head
from training.heads.linear import first_bias

_FREQUENT, _MIDDLE = 20, 4
_NARROWER = 4


class Adaptive(Head):
    """Grave, Joulin, Cissé, Grangier & Jégou 2017, "Efficient softmax approximation for GPUs", torch's modules.

    The most frequent twentieth of the classes stands in the first layer beside two clusters, the next fifth and the
    rest, whose classes have vectors of a quarter and a sixteenth of the width. A step pays for the clusters of its
    rows' classes only. The logits are log p(cluster) + log p(class | cluster).

    Args:
        name: in the table of heads.
        width: H.
        shares: float32 [K], how frequent each class is in the training split.
    """

    places: Tensor

    def __init__(self, name: str, width: int, shares: Tensor) -> None:
        super().__init__(name, width, len(shares))
        order = torch.argsort(shares, descending=True, stable=True)
        self.register_buffer("places", torch.argsort(order))
        self.inner = nn.AdaptiveLogSoftmaxWithLoss(
            width,
            self.classes,
            _cutoffs(self.classes),
            div_value=max(1, min(_NARROWER, math.isqrt(width))),
            head_bias=True,
        )
        frequent = self.inner.shortlist_size
        with torch.no_grad():
            self.inner.head.bias[:frequent] = first_bias(shares[order[:frequent]])

    def forward(self, hidden: Tensor) -> Tensor:
        first = torch.log_softmax(self.inner.head(hidden), dim=1)
        frequent = self.inner.shortlist_size
        clusters = [
            first[:, frequent + place, None] + torch.log_softmax(cluster(hidden), dim=1)
            for place, cluster in enumerate(self.inner.tail)
        ]
        return torch.cat([first[:, :frequent], *clusters], dim=1).index_select(1, self.places)

    def loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        found: Tensor = self.inner(hidden, self.places[labels]).loss
        return found


def _cutoffs(classes: int) -> list[int]:
    """Where clusters begin among the classes in falling frequency: at least one class stands before, and in, each."""
    return sorted({max(1, classes // _FREQUENT), max(1, classes // _MIDDLE)})
