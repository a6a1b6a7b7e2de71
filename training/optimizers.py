"""Optimizers and learning-rate schedules, each a function in a named table.

A schedule is a pure function of the step, so a resumed run needs no state of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from torch import nn, optim

from training import config

Schedule = Callable[[float, float], float]
_START_SHARE = 1 / 25
_END_SHARE = 1e-4


def sgd(parameters: Iterable[nn.Parameter], settings: config.Optimizer) -> optim.Optimizer:
    return optim.SGD(
        parameters,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def adam(parameters: Iterable[nn.Parameter], settings: config.Optimizer) -> optim.Optimizer:
    """Kingma & Ba 2015; weight decay is added to the gradient."""
    return optim.Adam(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def adamw(parameters: Iterable[nn.Parameter], settings: config.Optimizer) -> optim.Optimizer:
    """Loshchilov & Hutter 2019; weight decay acts on the weights, apart from the gradient."""
    return optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


OPTIMIZERS: Mapping[str, Callable[[Iterable[nn.Parameter], config.Optimizer], optim.Optimizer]] = MappingProxyType(
    {"sgd": sgd, "adam": adam, "adamw": adamw}
)


def constant(progress: float, warmup: float) -> float:
    """A linear warm-up, then the full rate."""
    return _rise(progress, warmup) if progress < warmup else 1.0


def cosine(progress: float, warmup: float) -> float:
    """A linear warm-up, then half a cosine down to zero (Loshchilov & Hutter 2017)."""
    return _rise(progress, warmup) if progress < warmup else _fall(progress, warmup, 0.0)


def one_cycle(progress: float, warmup: float) -> float:
    """Half a cosine up from 1/25, half a cosine down to 1/10,000 (Smith & Topin 2018)."""
    if progress < warmup:
        return 1.0 - (1.0 - _START_SHARE) * (1.0 + math.cos(math.pi * progress / warmup)) / 2.0
    return _fall(progress, warmup, _END_SHARE)


SCHEDULES: Mapping[str, Schedule] = MappingProxyType({"constant": constant, "cosine": cosine, "one_cycle": one_cycle})
"""name → (progress 0..1, warm-up share) → factor 0..1 on the learning rate."""


def set_learning_rate(optimizer: optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _rise(progress: float, warmup: float) -> float:
    return progress / warmup


def _fall(progress: float, warmup: float, end: float) -> float:
    remaining = (1.0 + math.cos(math.pi * (progress - warmup) / (1.0 - warmup))) / 2.0
    return end + (1.0 - end) * remaining
