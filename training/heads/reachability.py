"""The weights of a last layer → which classes no input can ever make the most probable, tested exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from clipmax.head import Unreachable
from clipmax.refusal import Refusal
from training.abstention import clopper_pearson_upper

Floats = npt.NDArray[np.floating[Any]]

TESTED = 30
"""Classes of a sample: with none found among them, at most 9.5 % of all are unreachable, at 95 % confidence."""

_FIRST, _MORE = 256, 64
_MARGIN = 1e-7


def sample(weight: Floats, bias: Floats, *, low: float = -1.0, high: float = 1.0, tested: int = TESTED) -> Unreachable:
    """How many of some random classes can never be predicted, and what that says of all of them.

    Args:
        weight: [K, H].
        bias: [K].
        low: the least that a hidden value can be; -1 to 1 behind tanh, whatever the layers below.
        high: the most.
        tested: classes of the sample, at most.
    """
    chosen = np.random.default_rng(0).permutation(len(weight))[:tested]
    found = sum(not is_reachable(weight, bias, int(label), low=low, high=high) for label in chosen)
    upper = clopper_pearson_upper(found, len(chosen), 0.05)
    return Unreachable(tested=len(chosen), found=found, upper=upper)


def is_reachable(weight: Floats, bias: Floats, label: int, *, low: float, high: float) -> bool:
    """Whether hidden values within the bounds exist for which the class has the highest logit of all.

    Grivas, Bogoychev & Lopez 2022, "Low-rank softmax can have unargmaxable classes in theory but rarely in practice":
    a linear program finds the values where the class leads the others most. Of a million classes few ever matter, so
    the program starts with those that lie nearest and takes in those that turn out to be ahead (constraint generation),
    until none is (reachable: the values found prove it) or the class cannot even lead those (unreachable).

    Raises:
        Refusal: the solver gives up, which it does not on finite weights.
    """
    rivals = _nearest(weight, bias, label)
    while True:
        margin, hidden = _lead(weight, bias, label, rivals, low=low, high=high)
        if margin <= _MARGIN:
            return False
        logits = weight @ hidden.astype(weight.dtype) + bias
        ahead = _ahead(logits, label)
        fresh = np.setdiff1d(ahead, rivals)
        if len(fresh) == 0:
            return True
        rivals = np.union1d(rivals, fresh)


def _nearest(weight: Floats, bias: Floats, label: int) -> npt.NDArray[np.int64]:
    """The classes that win where the class's own vector points, a first guess."""
    logits = weight @ np.sign(weight[label]) + bias
    logits[label] = -np.inf
    count = min(_FIRST, len(logits) - 1)
    return np.argpartition(-logits, count - 1)[:count].astype(np.int64)


def _ahead(logits: Floats, label: int) -> npt.NDArray[np.int64]:
    """Those that are not behind the class; the worst of them where there are many."""
    others = logits.copy()
    others[label] = -np.inf
    ahead = np.flatnonzero(others >= logits[label])
    return ahead[np.argsort(-others[ahead], kind="stable")[:_MORE]].astype(np.int64)


def _lead(
    weight: Floats, bias: Floats, label: int, rivals: npt.NDArray[np.int64], *, low: float, high: float
) -> tuple[float, npt.NDArray[np.float64]]:
    """The largest lead over all rivals at once, at most 1, and the hidden values, float64 [H], that give it."""
    width = weight.shape[1]
    differences = weight[rivals].astype(np.float64) - weight[label].astype(np.float64)
    found = linprog(
        np.append(np.zeros(width), -1.0),
        A_ub=np.hstack([differences, np.ones((len(rivals), 1))]),
        b_ub=float(bias[label]) - bias[rivals].astype(np.float64),
        bounds=[(low, high)] * width + [(None, 1.0)],
        method="highs",
    )
    if found.x is None:
        raise Refusal(
            "reachability", f"class {label}", expected="a solution of the linear program", found=found.message
        )
    return float(found.x[-1]), found.x[:-1]
