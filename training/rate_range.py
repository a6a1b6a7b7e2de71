"""A run before its first epoch → how its loss answers to ever higher learning rates, and the rate to take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clipmax.refusal import Refusal
from training import loop, optimizers, runtime
from training import run as running
from training.config import Run
from training.data.dataset import Dataset
from training.loop import NonFiniteError

STEPS = 200
"""At most; a range that diverges ends before."""
_LOWEST, _HIGHEST = 1e-6, 10.0
_MEMORY = 0.9
_DIVERGED = 4.0
_MARGIN = 10.0
_LINES = 15


@dataclass(frozen=True, slots=True)
class Trial:
    """One step: its learning rate and the moving average of the loss after it."""

    rate: float
    loss: float


def find(run: Run) -> list[Trial]:
    """The learning-rate range test of Smith 2017: one step a rate, each rate higher than the last by the same factor.

    Everything is as in the run: batch, augmentation, dropout, loss, clipping, optimizer; texts' rates of their own move
    in proportion. The weights are thrown away and nothing is written. It ends when a loss is not finite or above four
    times the lowest so far.

    Raises:
        Refusal: data or a configuration that cannot be used; no finite loss at the lowest rates.
    """
    trials = list(_trials(running.read(run)))
    if len(trials) < 2:
        raise Refusal("training", f"rate {_LOWEST:g}", expected="finite numbers", found="a diverged loss")
    return trials


def suggest(trials: Sequence[Trial]) -> float:
    """A tenth of the rate at which the averaged loss was lowest, where it is about to rise again."""
    return min(trials, key=lambda trial: trial.loss).rate / _MARGIN


def lines(trials: Sequence[Trial]) -> list[str]:
    """A small table of the range, and what to write into the configuration."""
    chosen = sorted({round(place * (len(trials) - 1) / (_LINES - 1)) for place in range(_LINES)})
    low = min(trials, key=lambda trial: trial.loss)
    table = [f"{trials[place].rate:>14.2e}  {trials[place].loss:.4f}" for place in chosen]
    suggested = f"lowest at {low.rate:.2e}; a tenth of it: optimizer.learning_rate = {suggest(trials):.2g}"
    return [f"{'learning rate':>14}  loss", *table, suggested]


def _trials(ready: running.Ready) -> Iterator[Trial]:
    run = ready.run
    progress, dataset = running.begin(ready)
    progress.model.train()
    total, lowest = 0.0, math.inf
    for step, (batch, labels) in enumerate(itertools.islice(_endless(run, dataset), STEPS)):
        rate = _LOWEST * (_HIGHEST / _LOWEST) ** (step / (STEPS - 1))
        optimizers.set_learning_rate(progress.optimizer, rate)
        try:
            loss = float(loop.train_step(progress, run, batch, labels, step=step).loss)
        except NonFiniteError:
            return
        total = _MEMORY * total + (1.0 - _MEMORY) * loss
        averaged = total / (1.0 - _MEMORY ** (step + 1))  # as Adam does: the average starts at zero
        lowest = min(lowest, averaged)
        if averaged > _DIVERGED * lowest:
            return
        yield Trial(rate, averaged)


def _endless(run: Run, dataset: Dataset) -> Iterator[tuple[list[Tensor], Tensor]]:
    for epoch in itertools.count():
        torch.manual_seed(runtime.derive_seed(run.seed, epoch, 0))
        yield from loop.batches(run, dataset, epoch=epoch)
