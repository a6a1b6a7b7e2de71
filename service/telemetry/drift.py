"""Rows of a window of time and the manifest's reference → how far the two are from each other.

The measure is the population stability index over B bins, Σ (p − q) ln(p / q), p of the window and q of the reference,
each with half a row added to every bin so that an empty one does not make it infinite. Without drift, n rows in the
window and m in the reference, it is about (1/n + 1/m) times a chi-squared number with B − 1 degrees of freedom
(B. Yurdakul and J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation
14, 2020): hence its noise, which is its mean, and its limit, which it exceeds once in a thousand windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipmax.inputs import (
    FIRST_WORD_CODE,
    MISSING_CODE,
    UNKNOWN_CODE,
    CategoryInput,
    ImageInput,
    Input,
    NumberInput,
    Tensor,
    TextInput,
)
from clipmax.reference import QUANTILES, InputReference, NumbersReference, Reference, WordsReference
from service.telemetry import layout

Indices = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

_HALF_ROW = 0.5
_NORMAL_999 = 3.0902
"""The point that a standard normal number exceeds once in a thousand times."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The index with what it would be on average, and once in a thousand windows, without any drift."""

    psi: float
    noise: float
    limit: float


@dataclass(frozen=True, slots=True)
class Bins:
    """How the rows of one input are sorted.

    Attributes:
        place: tensor [N, …] → bin of each row, integers [N].
        shares: of the reference, one a bin; they sum to 1.
    """

    place: Callable[[Tensor], Indices]
    shares: Floats


def measure(counts: Floats, shares: Floats, reference_rows: int) -> Drift:
    """Counts of a window against shares of a reference, float64 [B] each; bins that neither has do not count."""
    is_used = (counts > 0) | (shares > 0)
    counts, expected = counts[is_used], shares[is_used] * reference_rows
    bins, rows = len(counts), counts.sum()
    if bins < 2 or not rows:
        return Drift(0.0, 0.0, 0.0)
    p = (counts + _HALF_ROW) / (rows + _HALF_ROW * bins)
    q = (expected + _HALF_ROW) / (reference_rows + _HALF_ROW * bins)
    scale = 1 / rows + 1 / reference_rows
    return Drift(float(np.sum((p - q) * np.log(p / q))), (bins - 1) * scale, _quantile_999(bins - 1) * scale)


def bins_of(schema: Input, reference: InputReference) -> Bins:
    """By the reference's quantiles, or its words, and one more for missing values."""
    if isinstance(reference, WordsReference):
        assert isinstance(schema, CategoryInput)  # noqa: S101  # see `inputs_of`
        return _words(schema, reference)
    return _numbers(schema, reference)


def inputs_of(schemas: Sequence[Input], reference: Reference) -> Mapping[str, Bins]:
    """Of the first inputs, so many as are counted, that the reference knows in the same kind."""
    found = {}
    for schema in schemas[: layout.INPUTS]:
        known = reference.inputs.get(schema.name)
        if known is not None and isinstance(known, WordsReference) == isinstance(schema, CategoryInput):
            found[schema.name] = bins_of(schema, known)
    return found


def _numbers(schema: Input, reference: NumbersReference) -> Bins:
    """Between quantiles, with the share of rows that was counted at each; where several are equal, they are one.

    Versions of before it was counted have only the quantiles' own shares: of equal ones the last one's holds. The first
    and the last quantile are the extremes of the reference, beyond which a few rows always lie, so they bound nothing.
    """
    upper = dict(zip(reference.quantiles[1:-1], (reference.at_most or QUANTILES)[1:-1], strict=False))
    if isinstance(schema, TextInput):  # a longer text is cut, so its true length is not known
        upper = {length: share for length, share in upper.items() if length <= schema.max_length}
    edges = np.array([*upper, np.inf], dtype=np.float32 if isinstance(schema, ImageInput) else np.float64)
    inner = np.diff([0.0, *upper.values(), 1.0]) if reference.quantiles else np.zeros(1)
    value = _value(schema)
    # A missing number is NaN, which comes after infinity.
    return Bins(
        lambda tensor: edges.searchsorted(value(tensor)),
        np.array([*((1 - reference.missing) * inner), reference.missing]),
    )


def _words(schema: CategoryInput, reference: WordsReference) -> Bins:
    """Missing, unknown, each of the most frequent words, and all others together."""
    rest = 2 + len(reference.shares)
    places = np.full(FIRST_WORD_CODE + len(schema.categories), rest, dtype=np.intp)
    places[MISSING_CODE], places[UNKNOWN_CODE] = 0, 1
    for number, word in enumerate(reference.shares):
        if word in schema.codes:
            places[schema.codes[word]] = 2 + number
    known = [reference.missing, reference.unknown, *reference.shares.values()]
    return Bins(lambda tensor: places[tensor[:, 0]], np.array([*known, max(0.0, 1 - sum(known))]))


def _value(schema: Input) -> Callable[[Tensor], Tensor]:
    """How the one number a row is got that the reference is about: tensor [N, …] → [N]."""
    if isinstance(schema, NumberInput):
        return lambda tensor: tensor[:, 0] + np.float64(schema.origin)
    if isinstance(schema, TextInput):
        return lambda tensor: np.count_nonzero(tensor, axis=1)
    size = math.prod(schema.shape) if isinstance(schema, ImageInput) else 1
    mean = np.full(size, 1 / size, dtype=np.float32)
    return lambda tensor: tensor.reshape(-1, size) @ mean


def _quantile_999(freedom: int) -> float:
    """Of the chi-squared distribution, by E. B. Wilson and M. M. Hilferty (1931); within 4 % from one degree on."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + _NORMAL_999 * spread**0.5) ** 3)
