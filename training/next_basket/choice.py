"""Features of every item for every customer and what was bought → the weights of a softmax over all items.

The conditional logit of McFadden (1974): P(item | customer) ∝ exp(Σ weight · feature). Its log likelihood is concave,
so there is one best answer and no chance in it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

_RIDGE = 1e-3
"""Of the sum of the squared weights: they stay finite where a feature alone tells all."""
_STEPS = 100
_CLOSE = 1e-5
_LEAST_STEP = 1e-6


def fit(features: Floats, wanted: Floats) -> Floats:
    """The weights of the highest mean log probability, by Newton's method with halved steps: float64 [F].

    Args:
        features: float32 [F, R, K].
        wanted: float32 [R, K], each row sums to 1: every item of a basket is one positive, of the same share.
    """
    *_, weights = path(features, wanted)
    return weights


def path(features: Floats, wanted: Floats) -> Iterator[Floats]:
    """The weights that Newton's method begins with, all 0, and those after each of its steps: float64 [F] each."""
    weights = np.zeros(len(features))
    yield weights
    reached = _objective(features, wanted, weights)
    for _ in range(_STEPS):
        step = _newton(features, wanted, weights)
        while (better := _objective(features, wanted, weights + step)) < reached and np.abs(step).max() > _LEAST_STEP:
            step = step / 2.0
        if better <= reached:
            return
        weights, gained, reached = weights + step, better - reached, better
        yield weights
        if gained < _CLOSE**2:
            return


def scores(features: Floats, weights: Floats) -> Floats:
    """The logits: float32 [R, K]."""
    return np.tensordot(weights.astype(np.float32), features, axes=1)


def _objective(features: Floats, wanted: Floats, weights: Floats) -> float:
    logits = scores(features, weights).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    log_partition = np.log(np.exp(logits).sum(axis=1))
    return float(((wanted * logits).sum(axis=1) - log_partition).mean() - _RIDGE * (weights @ weights))


def _newton(features: Floats, wanted: Floats, weights: Floats) -> Floats:
    """The step to the top of the parabola that fits the objective here."""
    rows = len(wanted)
    chances = _softmax(scores(features, weights))
    weighted = features * chances
    means = weighted.sum(axis=2, dtype=np.float64)
    gradient = ((features * wanted).sum(axis=2, dtype=np.float64) - means).sum(axis=1) / rows - 2 * _RIDGE * weights
    flat = len(features), -1
    squares = (weighted.reshape(flat) @ features.reshape(flat).T).astype(np.float64)
    curvature = (squares - means @ means.T) / rows + 2 * _RIDGE * np.eye(len(features))
    return np.linalg.solve(curvature, gradient)


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
