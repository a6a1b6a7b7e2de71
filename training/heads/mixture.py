"""Hidden values → the logarithms of a mixture of softmaxes, whose matrix is not bound to rank d + 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.heads.head import Head
from training.heads.linear import first_bias


class Mixture(Head):
    """Yang, Dai, Salakhutdinov & Cohen 2018, "Breaking the softmax bottleneck: a high-rank RNN language model".

    p = Σ_m π_m · softmax(W · tanh(P_m h) + b), π = softmax(Q h). The logits are log p: what a temperature divides, and
    what an artifact answers as logits.

    Args:
        name: in the table of heads.
        width: H.
        shares: float32 [K], of the classes; their logarithms are the first biases.
        components: how many softmaxes.
    """

    def __init__(self, name: str, width: int, shares: Tensor, components: int) -> None:
        super().__init__(name, width, len(shares))
        self.components = components
        self.prior = nn.Linear(width, components)
        self.latent = nn.Linear(width, components * width)
        self.weight = nn.Parameter(torch.randn(len(shares), width).mul_(0.1 / math.sqrt(width)))
        self.bias = nn.Parameter(first_bias(shares))

    def forward(self, hidden: Tensor) -> Tensor:
        latent = torch.tanh(self.latent(hidden)).view(-1, self.width)
        each = torch.log_softmax(functional.linear(latent, self.weight, self.bias), dim=1)
        weighted = each.view(-1, self.components, self.classes) + torch.log_softmax(self.prior(hidden), 1).unsqueeze(2)
        highest = weighted.amax(dim=1, keepdim=True).detach()
        # onnxruntime's ReduceLogSumExp is slow and imprecise.
        return (weighted - highest).exp().sum(dim=1).log() + highest.squeeze(1)
