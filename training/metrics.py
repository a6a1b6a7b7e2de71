"""Logits or probabilities and true labels → the figures that say how good and how honest a classifier is."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmax.manifest import Metrics
from clipmax.refusal import Refusal

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BINS = 15
_BAND = (0.025, 0.975)
_SIMULATIONS = 1000

_FARTHEST, _STEPS = 4.0, 17
"""How many standard errors a temperature may be off, and at how many places the probabilities are really taken."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often the top class is right, by how probable the model called it; one entry a bin of equal width.

    Bin b holds the rows with b/bins <= top probability < (b+1)/bins; the last one also holds 1. Empty bins
    have NaN everywhere but in `count` (int64 [bins]); the rest is float64 [bins].
    """

    count: Integers
    confidence: Floats
    """Mean top probability."""
    accuracy: Floats
    """Share of rows whose top class is the true one."""
    band_low: Floats
    """In 95 of 100 cases the accuracy of a perfectly calibrated model with the same probabilities lies between
    `band_low` and `band_high`: the consistency bars of Bröcker & Smith 2007."""
    band_high: Floats


@dataclass(frozen=True, kw_only=True)
class EceNoise:
    """What the ECE of a perfectly calibrated model with the same top probabilities would be, from chance alone."""

    mean: float
    upper: float
    """Exceeded in 5 of 100 samples."""


@dataclass(frozen=True, kw_only=True)
class PerClass:
    """One entry a class: precision, recall and F1 float64 [K] (0 where undefined), support int64 [K]."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Integers


def check_rows(scores: npt.NDArray[Any], labels: npt.NDArray[Any], *, where: str = "metrics") -> None:
    """Refuse what no figure can be computed from.

    Raises:
        Refusal: unless scores are finite [N, K] with N >= 1, K >= 2, and labels are N integers from 0 to K-1.
    """
    if scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise Refusal(where, "scores", expected="[rows, classes >= 2] with a row", found=f"shape {scores.shape}")
    if labels.shape != scores.shape[:1] or labels.dtype.kind not in "iu":
        found = f"{labels.dtype} of shape {labels.shape}"
        raise Refusal(where, "labels", expected=f"{len(scores)} integers", found=found)
    outside = (labels < 0) | (labels >= scores.shape[1])
    if outside.any():
        found = f"{labels[outside][0]} in row {int(outside.argmax())}"
        raise Refusal(where, "labels", expected=f"0 to {scores.shape[1] - 1}", found=found)
    infinite = ~np.isfinite(scores).all(axis=1)
    if infinite.any():
        found = f"a non-finite one in row {int(infinite.argmax())}"
        raise Refusal(where, "scores", expected="finite numbers", found=found)


def log_probabilities(logits: npt.ArrayLike, temperature: float | Floats = 1.0) -> Floats:
    """Logarithm of softmax(logits / temperature), shifted by the true maximum of each row: float64 [N, K] → [N, K].

    Every row may have its own temperature, float64 [N, 1].
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    shifted = scaled - scaled.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def accuracy(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Share of rows whose highest score (logit or probability; of equal ones the first) is the true class."""
    return float(_is_correct(np.asarray(scores), np.asarray(labels)).mean())


def log_loss(logits: npt.ArrayLike, labels: npt.ArrayLike, temperature: float = 1.0) -> float:
    """Mean negative log likelihood in nats; from logits, so that no probability is rounded to 0 first."""
    true = np.asarray(labels)
    return float(-log_probabilities(logits, temperature)[np.arange(len(true)), true].mean())


def brier(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean squared distance to the one-hot label, summed over classes: 0 to 2 (Brier 1950)."""
    p, true = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    at_true = p[np.arange(len(true)), true]
    return float(((p**2).sum(axis=1) - 2 * at_true + 1).mean())


def confusion(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Integers:
    """How many rows of each true class (first axis) have which top class (second axis): int64 [K, K]."""
    values, true = np.asarray(scores), np.asarray(labels)
    classes = values.shape[1]
    pairs = true.astype(np.int64) * classes + values.argmax(axis=1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def per_class(scores: npt.ArrayLike, labels: npt.ArrayLike) -> PerClass:
    """Precision, recall, F1 and support of each class, one against the rest."""
    values = np.asarray(scores)
    return _per_class(*_counts(values.argmax(axis=1), np.asarray(labels), values.shape[1]))


def _per_class(hits: Integers, predicted: Integers, support: Integers) -> PerClass:
    return PerClass(
        precision=_ratio(hits, predicted),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, predicted + support),
        support=support,
    )


def macro_f1(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Mean F1 over the classes that occur among the labels or the predictions (as scikit-learn averages)."""
    values = np.asarray(scores)
    return macro_f1_of(values.argmax(axis=1), np.asarray(labels), values.shape[1])


def macro_f1_of(predicted: Integers, labels: Integers, classes: int) -> float:
    """The same from the predicted classes, int64 [N]."""
    hits, taken, support = _counts(predicted, labels, classes)
    return float(_per_class(hits, taken, support).f1[taken + support > 0].mean())


def _counts(predicted: Integers, labels: Integers, classes: int) -> tuple[Integers, Integers, Integers]:
    """Rows of each class that were right, that were taken for it, and that are of it: int64 [K] each, never K²."""
    right = labels[predicted == labels]
    return tuple(np.bincount(rows, minlength=classes) for rows in (right, predicted, labels))  # type: ignore[return-value]  # three


def reliability(probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS, *, seed: int = 0) -> Reliability:
    """Top probability against accuracy, bin by bin, with the band in which chance alone would put it.

    Shape: probabilities [N, K], labels int [N]. The band is simulated (1,000 draws, fixed by `seed`).
    """
    top, correct = _top(probabilities, labels)
    bin_of_row = _bin_of_row(top, bins)
    count = np.bincount(bin_of_row, minlength=bins)
    low, high = np.quantile(_simulated_hits(top, bin_of_row, bins, seed), _BAND, axis=0)
    return Reliability(
        count=count,
        confidence=_mean_where_any(np.bincount(bin_of_row, weights=top, minlength=bins), count),
        accuracy=_mean_where_any(np.bincount(bin_of_row, weights=correct, minlength=bins), count),
        band_low=_mean_where_any(low, count),
        band_high=_mean_where_any(high, count),
    )


def ece(probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error of the top class, 0 to 1: mean |accuracy - confidence| over bins of equal width,
    weighted by their rows (Naeini 2015, Guo 2017). Never 0 in practice: compare it with `ece_noise`.
    """
    return ece_of_top(*_top(probabilities, labels), bins)


def ece_of_top(top: Floats, correct: Floats, bins: int = BINS) -> float:
    """The same from each row's highest probability, and 1.0 where it is the true class's: float64 [N] both."""
    gaps = np.bincount(_bin_of_row(top, bins), weights=correct - top, minlength=bins)
    return float(np.abs(gaps).sum() / len(top))


def ece_noise(probabilities: npt.ArrayLike, bins: int = BINS, *, seed: int = 0) -> EceNoise:
    """The ECE that chance alone gives a perfectly calibrated model with these probabilities.

    ECE is biased upwards on finite samples (Bröcker & Smith 2007; Roelofs 2022). Here outcomes are drawn from the
    top probabilities themselves, 1,000 times, and the ECE of each draw is taken.
    """
    top = np.asarray(probabilities, dtype=np.float64).max(axis=1)
    bin_of_row = _bin_of_row(top, bins)
    expected_hits = np.bincount(bin_of_row, weights=top, minlength=bins)
    hits = _simulated_hits(top, bin_of_row, bins, seed)
    errors = np.abs(hits - expected_hits).sum(axis=1) / len(top)
    return EceNoise(mean=float(errors.mean()), upper=float(np.quantile(errors, 0.95)))


def ece_noise_of_fitted(
    logits: npt.ArrayLike, temperature: float, log_error: float, bins: int = BINS, *, seed: int = 0
) -> EceNoise:
    """The same of a model that would be perfectly calibrated if its temperature had been fitted on every row there is.

    Fitted on a sample, log T is off by about `log_error`. In each of 1,000 draws outcomes come from the top
    probabilities at T, and the ECE is that of the top probabilities at T · exp(log_error · a standard normal number).

    Args:
        logits: float [N, K], before the temperature.
        temperature: T.
        log_error: standard error of log T, see `calibration.log_error`.
        bins: of equal width.
        seed: of the draws.
    """
    values = np.asarray(logits, dtype=np.float64)
    gaps = values - values.max(axis=1, keepdims=True)
    steps = np.linspace(-_FARTHEST, _FARTHEST, _STEPS)
    tops = np.stack([1.0 / np.exp(gaps / (temperature * np.exp(log_error * step))).sum(axis=1) for step in steps])
    random = np.random.default_rng(seed)
    # Normal numbers evenly spread rather than drawn: the bound is then as exact as with several times the draws.
    normal = [NormalDist().inv_cdf((number + 0.5) / _SIMULATIONS) for number in range(_SIMULATIONS)]
    places = np.interp(normal, steps, np.arange(_STEPS))
    errors = [_drawn_ece(random, tops[_STEPS // 2], _between(tops, place), bins) for place in places]
    return EceNoise(mean=float(np.mean(errors)), upper=float(np.quantile(errors, 0.95)))


def evaluate(logits: npt.ArrayLike, labels: npt.ArrayLike, temperature: float) -> Metrics:
    """All figures of the manifest from the logits of the test split, before and after temperature.

    Shape: logits float [N, K], labels int [N].

    Raises:
        Refusal: for non-finite logits, labels outside 0..K-1, or shapes that do not fit.
    """
    values, true = np.asarray(logits), np.asarray(labels)
    check_rows(values, true)
    log_calibrated = log_probabilities(values, temperature)
    log_loss_calibrated = float(-log_calibrated[np.arange(len(true)), true].mean())
    calibrated = np.exp(log_calibrated)
    return Metrics(
        rows=len(true),
        accuracy=accuracy(values, true),
        macro_f1=macro_f1(values, true),
        log_loss=log_loss_calibrated,
        brier=brier(calibrated, true),
        ece=ece(calibrated, true),
        ece_uncalibrated=ece(np.exp(log_probabilities(values)), true),
        log_loss_uncalibrated=log_loss(values, true),
        ece_bins=BINS,
    )


def _is_correct(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.asarray(scores.argmax(axis=1) == labels)


def _top(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Floats]:
    """The highest probability of each row, and 1.0 where that class is the true one."""
    values = np.asarray(probabilities, dtype=np.float64)
    return values.max(axis=1), _is_correct(values, np.asarray(labels)).astype(np.float64)


def _bin_of_row(top: Floats, bins: int) -> Integers:
    return np.minimum((top * bins).astype(np.int64), bins - 1)


def _simulated_hits(top: Floats, bin_of_row: Integers, bins: int, seed: int) -> Floats:
    """Correct answers in each bin when row i is right with probability top[i]: [simulations, bins]."""
    random = np.random.default_rng(seed)
    order = np.argsort(bin_of_row, kind="stable")
    chances = top[order]
    ends = np.cumsum(np.bincount(bin_of_row, minlength=bins))
    hits = np.empty((_SIMULATIONS, bins))
    for row in hits:
        # A running sum over rows sorted by bin is several times cheaper than a bincount of each draw.
        running = np.concatenate(([0], np.cumsum(random.random(len(top)) < chances)))
        row[:] = np.diff(running[ends], prepend=0)
    return hits


def _between(rows: Floats, place: float) -> Floats:
    """What lies at a place between two rows, by a straight line."""
    below = min(int(place), len(rows) - 2)
    return np.asarray(rows[below] + (place - below) * (rows[below + 1] - rows[below]))


def _drawn_ece(random: np.random.Generator, true: Floats, stated: Floats, bins: int) -> float:
    """Of rows that are right with probability `true` and say `stated`; float64 [N] both."""
    return ece_of_top(stated, (random.random(len(true)) < true).astype(np.float64), bins)


def _ratio(part: Integers, whole: Integers) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0))


def _mean_where_any(total: npt.NDArray[Any], count: Integers) -> Floats:
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))
