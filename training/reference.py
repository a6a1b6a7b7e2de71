"""Validation rows and their answers → the statistics that drift is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmax.inputs import (
    FIRST_WORD_CODE,
    MISSING_CODE,
    UNKNOWN_CODE,
    CategoryInput,
    HistoryInput,
    ImageInput,
    Input,
    NumberInput,
    TextInput,
)
from clipmax.reference import (
    MOST_FREQUENT,
    QUANTILES,
    TOP_PROBABILITY_BINS,
    InputReference,
    NumbersReference,
    Reference,
    WordsReference,
)
from training.data.dataset import Column, Split

_DIGITS = 6


def fit(inputs: Sequence[Input], split: Split, probabilities: npt.NDArray[np.floating[Any]]) -> Reference:
    """The statistics of a split, rounded to six digits.

    Shape: probabilities float [N, K], of the N rows of the split.
    """
    rows, classes = probabilities.shape
    bins = np.minimum((probabilities.max(axis=1) * TOP_PROBABILITY_BINS).astype(np.int64), TOP_PROBABILITY_BINS - 1)
    return Reference(
        rows=rows,
        predicted=_shares(np.bincount(probabilities.argmax(axis=1), minlength=classes), rows),
        top_probability=_shares(np.bincount(bins, minlength=TOP_PROBABILITY_BINS), rows),
        inputs={schema.name: _input(schema, split.columns[schema.name]) for schema in inputs},
    )


def _input(schema: Input, column: Column) -> InputReference:
    match schema:
        case ImageInput():
            return _numbers("mean pixel", column.reshape(len(column), -1).mean(axis=1, dtype=np.float64))
        case NumberInput():
            return _numbers("value", column[:, 0].astype(np.float64) + schema.origin)
        case CategoryInput():
            return _words(schema, column[:, 0])
        case TextInput():
            return _numbers("length", np.array([len(text) for text in column], dtype=np.float64))
        case HistoryInput():
            raise TypeError("no row with one label has a history")


def _numbers(of: Any, values: npt.NDArray[np.float64]) -> NumbersReference:
    present = np.sort(values[~np.isnan(values)])
    quantiles = tuple(map(_rounded, np.quantile(present, QUANTILES).tolist())) if len(present) else ()
    return NumbersReference(
        of=of,
        missing=_rounded(1 - len(present) / len(values)),
        mean=_rounded(float(present.mean())) if len(present) else None,
        quantiles=quantiles,
        at_most=_shares(present.searchsorted(quantiles, side="right"), len(present)) if len(present) else (),
    )


def _words(schema: CategoryInput, codes: npt.NDArray[np.int32]) -> WordsReference:
    shares = _shares(np.bincount(codes, minlength=FIRST_WORD_CODE + len(schema.categories)), len(codes))
    words = sorted(zip(schema.categories, shares[FIRST_WORD_CODE:], strict=True), key=lambda pair: -pair[1])
    return WordsReference(
        missing=shares[MISSING_CODE], unknown=shares[UNKNOWN_CODE], shares=dict(words[:MOST_FREQUENT])
    )


def _shares(counts: npt.NDArray[np.int64], rows: int) -> tuple[float, ...]:
    return tuple(map(_rounded, (counts / rows).tolist()))


def _rounded(value: float) -> float:
    """Six significant digits: enough for drift, and a short manifest."""
    return float(f"{value:.{_DIGITS}g}")
