"""Probabilities and labels of rows that were not trained on → the threshold that keeps the accepted answers' risk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmax.abstention import Abstention, abstains
from training.metrics import check_rows

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

RISK = 0.02
CONFIDENCE_LEVEL = 0.95
# Candidate thresholds, fixed before any row is seen: log-odds 16 (the last float32 below 1) down to -7 (1 in 1,000
# classes) in steps of 0.05, then "accept all". Every 80th (4 in log-odds) is a place to start, six in all.
_LOG_ODDS = np.linspace(16.0, -7.0, 461)
_START_EVERY = 80


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """Share of wrong answers among the accepted, as the threshold falls; one entry a distinct top probability."""

    threshold: Floats
    """Accepted is what has at least this top probability; falling."""
    coverage: Floats
    """Share of rows accepted; rising, the last is 1."""
    risk: Floats
    """Share of the accepted rows that are wrong; the last is 1 - accuracy."""


@dataclass(frozen=True, kw_only=True)
class AcceptedFigures:
    """What a threshold does on rows that it was not chosen on."""

    rows: int
    accepted: int
    wrong: int
    risk: float
    """wrong / accepted; NaN where nothing is accepted."""
    risk_low: float
    risk_high: float
    """95 % Clopper-Pearson interval of the true risk; 0 to 1 where nothing is accepted."""

    @property
    def coverage(self) -> float:
        return self.accepted / self.rows


def fit(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    risk: float = RISK,
    confidence_level: float = CONFIDENCE_LEVEL,
    hint: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> Abstention:
    """The lowest threshold on the top probability that is shown to keep the risk of the accepted answers.

    Selective classification (Geifman & El-Yaniv 2017) with the guarantee of Learn-then-Test (Angelopoulos et al. 2021):
    for each of 462 thresholds fixed in advance, "the risk is above the chosen one" is tested with the exact binomial
    tail of the wrong among the accepted (as a Clopper-Pearson bound does); walks through the thresholds from six fixed
    starts share the error probability. So with probability `confidence_level` over these rows, the true share of wrong
    answers among accepted new rows like these is at most `risk`. The defaults need at least 237 accepted rows.

    With `hint`, probabilities and labels of other rows, the one start is where those rows make the test easiest, and
    has the whole error probability (split fixed-sequence testing, Laufer-Goldshtein et al. 2023): 149 rows can be
    enough. The guarantee does not depend on the hint, so those rows may have served for something else before.

    Shape: probabilities float [N, K], calibrated; labels int [N].

    Raises:
        Refusal: for non-finite probabilities, labels outside 0..K-1, or shapes that do not fit.
    """
    top, wrong = _top(probabilities, labels)
    candidates = np.append(1.0 / (1.0 + np.exp(-_LOG_ODDS)), 0.0)
    accepted, errors = _count(top, wrong, candidates)
    starts = np.arange(0, len(candidates), _START_EVERY) if hint is None else _easiest(*hint, candidates, risk)
    level = (1.0 - confidence_level) / len(starts)
    chosen = _walk(binomial_tail(errors, accepted, risk) <= level, starts)
    return Abstention(
        risk=risk,
        confidence_level=confidence_level,
        threshold=None if chosen is None else float(candidates[chosen]),
        coverage=0.0 if chosen is None else float(accepted[chosen] / len(top)),
        rows=len(top),
    )


def measure(abstention: Abstention, probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> AcceptedFigures:
    """How many answers the threshold accepts on other rows, and how many of them are wrong.

    Raises:
        Refusal: for non-finite probabilities, labels outside 0..K-1, or shapes that do not fit.
    """
    _, wrong = _top(probabilities, labels)
    kept = ~abstains(abstention, np.asarray(probabilities))
    accepted, errors = int(kept.sum()), int(wrong[kept].sum())
    return AcceptedFigures(
        rows=len(wrong),
        accepted=accepted,
        wrong=errors,
        risk=errors / accepted if accepted else math.nan,
        risk_low=1.0 - clopper_pearson_upper(accepted - errors, accepted, 0.025),
        risk_high=clopper_pearson_upper(errors, accepted, 0.025),
    )


def risk_coverage(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> RiskCoverage:
    """The risk-coverage curve (El-Yaniv & Wiener 2010) with the top probability as confidence.

    Raises:
        Refusal: for non-finite probabilities, labels outside 0..K-1, or shapes that do not fit.
    """
    top, wrong = _top(probabilities, labels)
    thresholds = np.unique(top)[::-1]
    accepted, errors = _count(top, wrong, thresholds)
    return RiskCoverage(threshold=thresholds, coverage=accepted / len(top), risk=errors / accepted)


def area(curve: RiskCoverage) -> float:
    """Area under the risk-coverage curve, 0 (best) to 1: the mean over rows of the risk at the row's own threshold."""
    return float((np.diff(curve.coverage, prepend=0.0) * curve.risk).sum())


def binomial_tail(errors: Integers, trials: Integers, rate: float) -> Floats:
    """P(X <= errors) for X ~ Binomial(trials, rate), elementwise; 1 without trials.

    Summed in logarithms from the exact terms. Where errors reach rate · trials, the tail is about a half or more and
    no test would reject, so 1 is returned without summing.
    """
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, int(trials.max(initial=1)) + 1)))))
    tail = np.ones(len(trials))
    for index in np.flatnonzero(errors < rate * trials):
        n, k = int(trials[index]), np.arange(int(errors[index]) + 1)
        log_terms = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
        log_terms += k * math.log(rate) + (n - k) * math.log1p(-rate)
        tail[index] = min(1.0, float(np.exp(log_terms).sum()))
    return tail


def clopper_pearson_upper(errors: int, trials: int, level: float) -> float:
    """The rate at which as few as `errors` of `trials` would have probability `level` (Clopper & Pearson 1934)."""
    if errors >= trials:
        return 1.0
    low, high = errors / trials, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        tail = float(binomial_tail(np.array([errors]), np.array([trials]), middle)[0])
        low, high = (middle, high) if tail > level else (low, middle)
    return high


def _top(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Booleans]:
    """Top probability of each row, and whether that class is wrong."""
    values, true = np.asarray(probabilities), np.asarray(labels)
    check_rows(values, true, where="abstention")
    return values.max(axis=1).astype(np.float64), np.asarray(values.argmax(axis=1) != true)


def _count(top: Floats, wrong: Booleans, thresholds: npt.NDArray[Any]) -> tuple[Integers, Integers]:
    """Rows with at least each threshold, and the wrong ones among them; equal top probabilities stay together."""
    order = np.argsort(-top, kind="stable")
    accepted = np.searchsorted(-top[order], -thresholds, side="right")
    errors = np.concatenate(([0], np.cumsum(wrong[order])))[accepted]
    return accepted, errors


def _easiest(probabilities: npt.ArrayLike, labels: npt.ArrayLike, candidates: Floats, risk: float) -> Integers:
    """Where the risk is most surely kept: int64 [1]; of equally sure thresholds the highest."""
    accepted, errors = _count(*_top(probabilities, labels), candidates)
    return np.array([binomial_tail(errors, accepted, risk).argmin()])


def _walk(shown: Booleans, starts: Integers) -> int | None:
    """The last threshold reached from a start without a gap; from the lowest start that holds, it is the lowest."""
    holding = starts[shown[starts]]
    if len(holding) == 0:
        return None
    start = int(holding[-1])
    gap = np.flatnonzero(~shown[start:])
    return start + int(gap[0]) - 1 if len(gap) else len(shown) - 1
