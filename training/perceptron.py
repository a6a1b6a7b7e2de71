"""Features → logits, and the logits' gradient → that of every weight: the chain rule by hand, for the plain case.

Autograd gives the same numbers; it takes a small network longer, because it makes, adds up and drops a tensor for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.model import Mlp

_aten = torch.ops.aten

DERIVATIVES: Mapping[type[nn.Module], Callable[[Tensor, Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        nn.ReLU: lambda gradient, _before, after: _aten.threshold_backward(gradient, after, 0),
        nn.GELU: lambda gradient, before, _after: _aten.gelu_backward(gradient, before),
        nn.SiLU: lambda gradient, before, _after: _aten.silu_backward(gradient, before),
        nn.Tanh: lambda gradient, _before, after: _aten.tanh_backward(gradient, after),
    }
)
"""Activation → (gradient behind it, values before it, values behind it) → gradient before it."""


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """What one forward pass leaves for the backward pass: layer by layer, what entered it and what it gave."""

    entered: list[Tensor]
    gave: list[Tensor]

    @property
    def logits(self) -> Tensor:
        return self.gave[-1]


@dataclass(frozen=True, slots=True, eq=False)
class Perceptron:
    """Linear layers, the same activation behind each but the last."""

    layers: list[nn.Linear]
    activation: nn.Module

    @classmethod
    def of(cls, mlp: nn.Module) -> Self | None:
        """The same weights, or None for what is not such a stack: dropout, a shortcut, members, a frozen weight."""
        if not isinstance(mlp, Mlp) or not all(weight.requires_grad for weight in mlp.parameters()):
            return None
        layers = [layer for layer in mlp if isinstance(layer, nn.Linear)]
        between = [layer for layer in mlp if not isinstance(layer, nn.Linear)] or [nn.ReLU()]  # one layer asks none
        is_plain = all(type(layer) in DERIVATIVES for layer in between)
        return cls(layers, between[0]) if is_plain else None

    def forward(self, features: Tensor) -> Passed:
        """float32 [N, width] through all layers; call it without autograd."""
        passed = Passed([features], [])
        for layer in self.layers:
            if passed.gave:
                passed.entered.append(self.activation(passed.gave[-1]))
            passed.gave.append(functional.linear(passed.entered[-1], layer.weight, layer.bias))
        return passed

    def backward(self, passed: Passed, gradient: Tensor) -> None:
        """Overwrite every `.grad`, which must be there.

        Args:
            passed: what `forward` returned.
            gradient: float32 [N, K], of the loss in the logits.
        """
        derivative = DERIVATIVES[type(self.activation)]
        for place in reversed(range(len(self.layers))):
            layer, entered = self.layers[place], passed.entered[place]
            torch.mm(gradient.t(), entered, out=layer.weight.grad)
            torch.sum(gradient, dim=0, out=layer.bias.grad)
            if place:
                gradient = derivative(gradient @ layer.weight, passed.gave[place - 1], entered)
