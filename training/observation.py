"""A model and a fixed sample of training rows → logits, activations and gradients, and from them the diagnostics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from training import diagnostics
from training.data.dataset import Indices
from training.diagnostics import Diagnostics
from training.model import Classifier

_ROWS_MAX = 2048
_ROWS_MIN = 64
_SHARE = 32
_LOGITS_MAX = 4_000_000


def sample(rows: int, classes: int) -> Indices:
    """Row numbers of the sample: int64, evenly spaced, the same in every epoch.

    One in 32 rows, so that looking at them stays far below 5 % of an epoch, but at least 64 (fewer say little; where
    an epoch is that short, more than 5 % of it are milliseconds) and at most 2,048; fewer where there are very many
    classes.
    """
    wanted = min(max(rows // _SHARE, _ROWS_MIN), _ROWS_MAX, max(1, _LOGITS_MAX // classes))
    return evenly(rows, wanted)


def evenly(rows: int, at_most: int) -> Indices:
    """At most that many row numbers, int64, evenly spaced: a table may be sorted by class."""
    kept = min(rows, at_most)
    return np.arange(kept, dtype=np.int64) * rows // kept


def observe(
    model: Classifier, columns: Sequence[Tensor], labels: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> Diagnostics:
    """What the softmax did to the model, seen on these rows in evaluation mode; weights, `.grad` and random state stay.

    Args:
        model: is left in evaluation mode.
        columns: one tensor an input, [N, …].
        labels: int64 [N].
        loss: (logits, labels) → 0-d; its gradients are taken of these rows, so they are comparable between epochs
            and not clipped.
    """
    started = time.perf_counter()
    model.eval()
    with _hidden(model) as hidden:
        logits = model(*columns)
    apart = set() if model.head is None else set(model.head.parameters())  # their gradient is as large as the classes
    learned = (
        (name, weight) for name, weight in model.named_parameters() if weight.requires_grad and weight not in apart
    )
    names, parameters = zip(*learned, strict=True)
    # torch annotates no None, but gives one for a parameter that the loss does not depend on.
    gradients: Sequence[Tensor | None] = torch.autograd.grad(loss(logits, labels), parameters, allow_unused=True)
    found = diagnostics.measure(
        logits=logits.detach(),
        labels=labels,
        hidden=hidden,
        gradients={name: gradient for name, gradient in zip(names, gradients, strict=True) if gradient is not None},
        width=_width(model),
    )
    return replace(found, seconds=time.perf_counter() - started)


@contextmanager
def _hidden(model: Classifier) -> Iterator[dict[str, Tensor]]:
    """Linear layer's name → what the ReLU after it gave, filled by the forward pass within.

    Units of other activations are not dead below 0, so they are not looked at.
    """
    seen: dict[str, Tensor] = {}
    hooks = []
    linear = ""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            linear = name
        elif isinstance(module, nn.ReLU):
            hooks.append(module.register_forward_hook(_keep(seen, linear or name)))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _keep(seen: dict[str, Tensor], name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[name] = output.detach()

    return keep


def _width(model: Classifier) -> int:
    """Values a row that enter the last linear layer; of members side by side, all of theirs."""
    if model.head is not None:
        return model.head.rank_width
    lasts = [module[-1] for module in model.mlp.modules() if isinstance(module, nn.Sequential)]
    return sum(layer.in_features for layer in lasts if isinstance(layer, nn.Linear))
