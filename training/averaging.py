"""The moving average of the weights, which is smoother than the weights of any one step (Polyak & Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_RAMP = 10


@torch.no_grad()
def move(average: dict[str, Tensor], model: nn.Module, *, decay: float, step: int) -> None:
    """Move the average in place: decay · average + (1 − decay) · weights.

    Early on, the decay is (step + 1) / (step + 10), so that the first weights are soon forgotten.

    Args:
        average: name → parameter's average; filled with copies at the first call.
        model: whose parameters are averaged.
        decay: 0..1.
        step: counted from 0 over the whole run.
    """
    parameters = dict(model.named_parameters())
    if not average:
        average.update({name: parameter.detach().clone() for name, parameter in parameters.items()})
        return
    decay = min(decay, (step + 1) / (step + _RAMP))
    torch._foreach_lerp_(list(average.values()), [parameters[name] for name in average], 1.0 - decay)


@contextmanager
def applied(average: dict[str, Tensor], model: nn.Module) -> Iterator[None]:
    """The model with the average in place of its weights, and afterwards with its own again. Nothing if empty."""
    parameters = dict(model.named_parameters())
    own = {name: parameters[name].detach().clone() for name in average}
    _assign(parameters, average)
    try:
        yield
    finally:
        _assign(parameters, own)


@torch.no_grad()
def _assign(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        parameters[name].copy_(value)
