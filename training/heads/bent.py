"""Hidden values → logits that a rising function bends, so that their matrix can have a higher rank than d + 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.heads.full import full
from training.heads.head import Head
from training.heads.linear import Linear


class Bent(Head):
    """Logits = f(hidden · weight + bias), f one rising function for all, so the classes of a row keep their order.

    Args:
        name: in the table of heads.
        width: H.
        shares: float32 [K], of the classes; f first sees the logarithms of K times them.
        function: f, number by number, of any shape.
    """

    def __init__(self, name: str, width: int, shares: Tensor, function: nn.Module) -> None:
        super().__init__(name, width, len(shares))
        self.linear = Linear(name, width, shares, full)
        with torch.no_grad():  # around 0, where the function bends; far below it sigsoftmax is a straight line
            self.linear.bias.add_(math.log(len(shares)))
        self.function = function

    def forward(self, hidden: Tensor) -> Tensor:
        bent: Tensor = self.function(self.linear(hidden))
        return bent

    def vectors(self) -> tuple[Tensor, Tensor]:
        return self.linear.vectors()
