"""Logits of rows that were not trained on → a factor that changes with a row's entropy, where that pays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training import calibration
from training.metrics import check_rows, log_probabilities

Floats = npt.NDArray[np.float64]

LEAST = 0.1
"""No row's logits are shrunk to less than this share: the factor is above 0, so the order of a row's classes stays."""
PRIOR_DEVIATION = 0.2
"""What is believed of the slope before any row is seen: 0, give or take this. In deals of five data sets 0.1 mends too
little, and 0.5 is too often not worth its own scatter on 500 rows."""
_LOWEST = -100.0
"""Of a log probability: an impossible class adds 0 to the entropy, and 0 times minus infinity would be NaN."""
_ROUNDS, _HALVINGS, _PRECISION = 50, 40, 1e-9


@dataclass(frozen=True, slots=True)
class Line:
    """factor = 1 + slope · (entropy - center), the entropy as a share, 0 to 1, of that of K equal probabilities."""

    slope: float
    """Above 0: rows that are in doubt are made surer, beside those that are not; below 0 the other way round."""
    center: float
    """The mean entropy of the rows that it was fitted on: a row like them on average keeps its logits."""


class Slope(nn.Module):
    """logits · factor, the factor one for each row, by the entropy of softmax(logits).

    Shape:
        - Input: float32 [N, K]
        - Output: float32 [N, K]
    """

    slope: Tensor
    center: Tensor

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line = line
        self.register_buffer("slope", torch.tensor(line.slope, dtype=torch.float32))
        self.register_buffer("center", torch.tensor(line.center, dtype=torch.float32))

    def forward(self, logits: Tensor) -> Tensor:
        log_p = torch.log_softmax(logits, dim=1).clamp(min=_LOWEST)
        entropy = -(log_p.exp() * log_p).sum(dim=1, keepdim=True) / math.log(logits.shape[1])
        return logits * (1.0 + self.slope * (entropy - self.center)).clamp(min=LEAST)


def fit(logits: npt.ArrayLike, labels: npt.ArrayLike) -> Line | None:
    """The line with the least log loss at its own best temperature, or None where one temperature for all does as well.

    A temperature that depends on the entropy (after Balanya et al. 2022), as an inverse temperature that is a straight
    line in it: that keeps the log loss convex in the line's two numbers. Both ways are judged on each row as fitted
    without it, and the line is taken if it is better by more than one standard error of the rows' differences
    (the one-standard-error rule, Breiman et al. 1984): rows with nothing to mend keep their logits.

    Args:
        logits: float [N, K], before any temperature, of rows that the weights were not fitted on.
        labels: int [N], 0 to K-1.

    Raises:
        Refusal: for non-finite logits, labels outside 0..K-1, no rows, fewer than two classes.
    """
    values, true = np.asarray(logits), np.asarray(labels)
    check_rows(values, true, where="slope")
    entropies = _entropies(values)
    center = float(entropies.mean())
    design = np.stack([np.ones(len(true)), entropies - center], axis=1)
    weights, apart = _solve(values, true, design)
    plain = calibration.without_each(values, true, calibration.fit_temperature(values, true))
    gains = _log_losses(values, true, 1.0 / plain) - _log_losses(values, true, apart)
    pays = len(gains) > 1 and gains.mean() > gains.std(ddof=1) / math.sqrt(len(gains))
    return Line(float(weights[1] / weights[0]), center) if pays else None


def _solve(values: npt.NDArray[np.floating], true: npt.NDArray[np.int64], design: Floats) -> tuple[Floats, Floats]:
    """The two weights of `design` [N, 2] that make each row's inverse temperature, and that of each row without it [N].

    Newton's method on the penalized log loss, from the plain temperature; without a row, one more step of it.
    """
    weights = np.array([1.0 / calibration.fit_temperature(values, true), 0.0])
    for _ in range(_ROUNDS):
        slopes, curvatures = calibration.row_derivatives(values, true, design @ weights)
        gradient, hessian = _penalized(design, slopes, curvatures, weights)
        step = np.linalg.solve(hessian, gradient)
        weights = _stepped(weights, step, design)
        if np.abs(step).max() <= _PRECISION * weights[0]:
            break
    without = hessian - curvatures[:, None, None] * design[:, :, None] * design[:, None, :]
    moved = np.linalg.solve(without, (slopes[:, None] * design)[:, :, None])[:, :, 0]
    return weights, np.maximum(((weights + moved) * design).sum(axis=1), LEAST * weights[0])


def _penalized(design: Floats, slopes: Floats, curvatures: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Gradient [2] and Hessian [2, 2] of the log loss and of what is believed before: the temperature's own prior on
    the first weight, a normal one on the second.
    """
    first, second = calibration.PRIOR_DEVIATION**-2, PRIOR_DEVIATION**-2
    gradient = design.T @ slopes + np.array([first * (1.0 - 1.0 / weights[0]), second * weights[1]])
    hessian = (design.T * curvatures) @ design + np.diag([first / weights[0] ** 2, second])
    return gradient, hessian


def _stepped(weights: Floats, step: npt.NDArray[np.floating], design: Floats) -> Floats:
    """As much of the step as keeps every row's factor at `LEAST` or more."""
    for halving in range(_HALVINGS):
        following = weights - step * 0.5**halving
        if following[0] > 0.0 and (design @ following).min() >= LEAST * following[0]:
            return np.asarray(following)
    return weights


def _entropies(values: npt.NDArray[np.floating]) -> Floats:
    log_p = np.maximum(log_probabilities(values), _LOWEST)
    return np.asarray(-(np.exp(log_p) * log_p).sum(axis=1) / math.log(values.shape[1]))


def _log_losses(values: npt.NDArray[np.floating], true: npt.NDArray[np.int64], inverse: Floats) -> Floats:
    """Of each row at its own inverse temperature: float64 [N]."""
    return np.asarray(-log_probabilities(values, 1.0 / inverse[:, None])[np.arange(len(true)), true])
