"""The weights of a last layer → which classes no input can ever make the most probable, tested exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog, minimize

from clipmax.head import Unreachable
from clipmax.refusal import Refusal
from training.abstention import clopper_pearson_upper

Floats = npt.NDArray[np.floating[Any]]

TESTED = 100
"""Classes of a sample: with none found among them, at most 3 % of all are unreachable, at 95 % confidence."""

_FIRST, _MORE = 256, 64
_ROUNDS = 10
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

    Before, a smooth function takes its place for a few rounds: its values lie in the middle of what is possible rather
    than at a corner, so that few other classes are ahead there. They can prove that a class is reachable, and only the
    linear program that it is not.

    Raises:
        Refusal: the solver gives up, which it does not on finite weights.
    """
    hidden = np.where(weight[label] > 0, high, low).astype(np.float64)  # where the class's own vector points
    rivals = _nearest(weight, bias, label, hidden)
    for _ in range(_ROUNDS):
        hidden = _favourable(weight, bias, label, rivals, hidden, bounds=(low, high))
        ahead = _ahead(weight, bias, label, hidden)
        if len(ahead) == 0:
            return True
        rivals = np.union1d(rivals, ahead)
    while True:
        margin, hidden = _lead(weight, bias, label, rivals, low=low, high=high)
        if margin <= _MARGIN:
            return False
        fresh = np.setdiff1d(_ahead(weight, bias, label, hidden), rivals)
        if len(fresh) == 0:
            return True
        rivals = np.union1d(rivals, fresh)


def _nearest(weight: Floats, bias: Floats, label: int, hidden: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The classes of the highest logits, a first guess."""
    logits = weight @ hidden.astype(weight.dtype) + bias
    logits[label] = -np.inf
    count = min(_FIRST, len(logits) - 1)
    return np.argpartition(-logits, count - 1)[:count].astype(np.int64)


def _ahead(weight: Floats, bias: Floats, label: int, hidden: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Those that are not behind the class; the worst of them where there are many."""
    logits = weight @ hidden.astype(weight.dtype) + bias
    own, logits[label] = logits[label], -np.inf
    ahead = np.flatnonzero(logits >= own)
    return ahead[np.argsort(-logits[ahead], kind="stable")[:_MORE]].astype(np.int64)


def _favourable(
    weight: Floats,
    bias: Floats,
    label: int,
    rivals: npt.NDArray[np.int64],
    start: npt.NDArray[np.float64],
    *,
    bounds: tuple[float, float],
) -> npt.NDArray[np.float64]:
    """Hidden values, float64 [H], where log(sum of exp(rival's logit - own logit)) is lowest; it is convex."""
    differences, offsets = _behind(weight, bias, label, rivals)

    def sum_and_slope(hidden: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        gaps = differences @ hidden + offsets
        highest = gaps.max()
        powers = np.exp(gaps - highest)
        total = powers.sum()
        return float(highest + np.log(total)), (powers / total) @ differences

    found = minimize(
        sum_and_slope, start, jac=True, method="L-BFGS-B", bounds=[bounds] * len(start), options={"maxiter": 100}
    )
    values: npt.NDArray[np.float64] = found.x
    return values


def _behind(
    weight: Floats, bias: Floats, label: int, rivals: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Vectors and biases of the rivals less the class's own."""
    vectors = weight[rivals].astype(np.float64) - weight[label].astype(np.float64)
    return vectors, bias[rivals].astype(np.float64) - float(bias[label])


def _lead(
    weight: Floats, bias: Floats, label: int, rivals: npt.NDArray[np.int64], *, low: float, high: float
) -> tuple[float, npt.NDArray[np.float64]]:
    """The largest lead over all rivals at once, at most 1, and the hidden values, float64 [H], that give it."""
    width = weight.shape[1]
    differences, offsets = _behind(weight, bias, label, rivals)
    found = linprog(
        np.append(np.zeros(width), -1.0),
        A_ub=np.hstack([differences, np.ones((len(rivals), 1))]),
        b_ub=-offsets,
        bounds=[(low, high)] * width + [(None, 1.0)],
        method="highs",
    )
    if found.x is None:
        raise Refusal(
            "reachability", f"class {label}", expected="a solution of the linear program", found=found.message
        )
    return float(found.x[-1]), found.x[:-1]
