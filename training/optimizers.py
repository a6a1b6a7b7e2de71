"""Optimizers and learning-rate schedules, each a function in a named table.

A schedule is a pure function of the step, so a resumed run needs no state of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn, optim

from training import config
from training.adam import Adam
from training.composite import CompositeOptimizer
from training.features.text.encoder import TextEncoder
from training.heads.head import Head
from training.model import Classifier
from training.row_adagrad import RowAdagrad

Schedule = Callable[[float, float], float]
_START_SHARE = 1 / 25
_END_SHARE = 1e-4
_WIDE_EPS = 1e-3


def sgd(parameters: Iterable[nn.Parameter], settings: config.Optimizer) -> optim.Optimizer:
    return optim.SGD(_groups(parameters, settings), lr=settings.learning_rate, momentum=settings.momentum, fused=True)


def adam(parameters: Iterable[nn.Parameter], settings: config.Optimizer) -> optim.Optimizer:
    """Kingma & Ba 2015; weight decay is added to the gradient."""
    return Adam(_groups(parameters, settings), learning_rate=settings.learning_rate, decoupled=False)


def adamw(parameters: Iterable[nn.Parameter], settings: config.Optimizer) -> optim.Optimizer:
    """Loshchilov & Hutter 2019; weight decay acts on the weights, apart from the gradient."""
    return Adam(_groups(parameters, settings), learning_rate=settings.learning_rate, decoupled=True)


def _groups(parameters: Iterable[nn.Parameter], settings: config.Optimizer) -> list[dict[str, Any]]:
    """Matrices with weight decay, biases without: pulling an offset towards zero helps nothing."""
    if not settings.weight_decay:  # one group is one call of the fused kernel
        return [{"params": list(parameters), "weight_decay": 0.0}]
    groups: dict[bool, list[Tensor]] = {True: [], False: []}
    for parameter in parameters:
        groups[parameter.dim() > 1].append(parameter)
    decays = {True: settings.weight_decay, False: 0.0}
    return [{"params": group, "weight_decay": decays[key]} for key, group in groups.items() if group]


OPTIMIZERS: Mapping[str, Callable[[Iterable[nn.Parameter], config.Optimizer], optim.Optimizer]] = MappingProxyType(
    {"sgd": sgd, "adam": adam, "adamw": adamw}
)


def build(model: Classifier, run: config.Run) -> optim.Optimizer:
    """The run's optimizer over all weights, except that the tables of texts have rules and highest rates of their own.

    The features of n-grams: row-wise Adagrad on sparse gradients. Their logits: AdamW with eps 1e-3. The vectors of
    classes that are sampled: row-wise Adagrad too.
    """
    texts = [encoder for encoder in model.encoders if isinstance(encoder, TextEncoder)]
    if model.head is not None:
        return _with_head(model, model.head, texts, run)
    if model.mixture is None:
        return OPTIMIZERS[run.optimizer.name](model.parameters(), run.optimizer)
    deep = RowAdagrad([encoder.deep for encoder in texts], lr=run.texts.deep_rate)
    wide = optim.AdamW(
        [model.mixture.bias, *(encoder.wide for encoder in texts)],
        lr=run.texts.wide_rate,
        eps=_WIDE_EPS,
        weight_decay=0.0,
        fused=True,
    )
    for optimizer in (deep, wide):
        _relate(optimizer, run.optimizer)
    taken = {id(weight) for optimizer in (deep, wide) for group in optimizer.param_groups for weight in group["params"]}
    others = [weight for weight in model.parameters() if id(weight) not in taken]
    return CompositeOptimizer([OPTIMIZERS[run.optimizer.name](others, run.optimizer), deep, wide])


def _with_head(model: Classifier, head: Head, texts: Sequence[TextEncoder], run: config.Run) -> optim.Optimizer:
    """Row-wise Adagrad where gradients are sparse; what lies below the last layer at its share of the rate."""
    tables = [encoder.deep for encoder in texts]
    rows = [RowAdagrad(tables, lr=run.texts.deep_rate * run.head.trunk_rate)] if tables else []
    vectors = RowAdagrad(head.parameters(), lr=run.head.rate) if head.is_sparse else _of_run(head.parameters(), run)
    taken = {*tables, *head.parameters()}
    others = [weight for weight in model.parameters() if weight.numel() and weight not in taken]
    below = _of_run(others, run)
    for group in below.param_groups:
        group["lr"] *= run.head.trunk_rate
    for optimizer in (*rows, vectors, below):
        _relate(optimizer, run.optimizer)
    return CompositeOptimizer([*rows, vectors, below])


def _of_run(parameters: Iterable[nn.Parameter], run: config.Run) -> optim.Optimizer:
    return OPTIMIZERS[run.optimizer.name](parameters, run.optimizer)


def _relate(optimizer: optim.Optimizer, settings: config.Optimizer) -> None:
    """Keep the groups' own highest rates in proportion while the schedule moves the run's."""
    for group in optimizer.param_groups:
        group["relative_rate"] = group["lr"] / settings.learning_rate


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


def linear(progress: float, warmup: float) -> float:
    """A linear warm-up, then a straight line down to zero."""
    return _rise(progress, warmup) if progress < warmup else (1.0 - progress) / (1.0 - warmup)


SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {"constant": constant, "cosine": cosine, "linear": linear, "one_cycle": one_cycle}
)
"""name → (progress 0..1, warm-up share) → factor 0..1 on the learning rate."""


def set_learning_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """The run's rate now; groups with a rate of their own move in proportion."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("relative_rate", 1.0)


def _rise(progress: float, warmup: float) -> float:
    return progress / warmup


def _fall(progress: float, warmup: float, end: float) -> float:
    remaining = (1.0 + math.cos(math.pi * (progress - warmup) / (1.0 - warmup))) / 2.0
    return end + (1.0 - end) * remaining
