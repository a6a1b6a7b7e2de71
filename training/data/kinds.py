"""A column of a table → what kind of input it is, and its values as that kind needs them.

The rules, on the training rows only and for columns that the configuration does not name:

- a number type is a number, a boolean a category;
- strings that are all numbers are a number, unless one has a leading zero (a postal code): that is a category;
- strings of which more than nine in ten are numbers are refused, for the rest are most often a marker of missing
  values that the configuration does not list;
- other strings are a text if they have more than 1,000 different values, or more than 50 characters on average, or
  if more than half of them, and more than 20, are different; else a category.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from clipmax.inputs import CategoryInput, Input, NumberInput, TextInput, category_codes, word
from clipmax.refusal import Refusal, shorten
from training.data.dataset import Column, Indices

Kind = Literal["number", "category", "text"]
_MOST_WORDS = 1000
_FEW_WORDS = 20
_LONG_WORDS = 50
_MOSTLY = 0.9
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def infer(values: pl.Series, rows: Indices, *, where: Path) -> Kind:
    """The kind of a column, by the rules above; `rows` are the numbers for messages, where each stands in the file.

    Raises:
        Refusal: a type that is no input (a list, a date), or numbers and words mixed.
    """
    if values.dtype.is_numeric():
        return "number"
    if values.dtype == pl.Boolean:
        return "category"
    if values.dtype != pl.String:
        expected = "numbers, words or texts (or its name in data.ignore)"
        raise Refusal(where, f"column {values.name!r}", expected=expected, found=str(values.dtype))
    present = values.drop_nulls()
    share = _parsed(present).is_not_null().sum() / max(1, present.len())
    if share > _MOSTLY and not _has_leading_zero(present):
        _check_all_numbers(values, rows, where)
        return "number"
    return "text" if _is_open(present) else "category"


def numbers(values: pl.Series, rows: Indices, *, where: Path) -> npt.NDArray[np.float64]:
    """float64 [rows], NaN for missing.

    Raises:
        Refusal: a word (with its row), or a number that float32 cannot hold.
    """
    _check_all_numbers(values, rows, where)
    result = _parsed(values).to_numpy().astype(np.float64)
    outside = np.flatnonzero(np.abs(result) > _FLOAT32_MAX)
    if len(outside):
        raise _bad_cell(values, rows, int(outside[0]), "a number that float32 can hold", where)
    return result


def are_numbers(values: pl.Series) -> pl.Series:
    """For each string, whether it is a finite number."""
    return _parsed(values).is_not_null()


def words(values: pl.Series) -> list[str | None]:
    """One string or None a row; numbers and booleans as `clipmax.inputs.word` spells them."""
    if values.dtype.is_decimal() or values.dtype == pl.Float32:
        values = values.cast(pl.String).cast(pl.Float64)  # 0.1 and not the 0.10000000149 that float32 holds of it
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return [None if value is None else word(value) for value in values.to_list()]
    found: list[str | None] = values.cast(pl.String).to_list()
    return found


def schema(kind: Kind, name: str, column: npt.NDArray[np.float64] | Sequence[str | None], *, text_length: int) -> Input:
    """What the training split says about a column: a number's range and origin, a category's words."""
    if kind == "text":
        return TextInput(name=name, max_length=text_length)
    if kind == "category":
        return CategoryInput(name=name, categories=tuple(sorted({word for word in column if isinstance(word, str)})))
    present = np.asarray(column, dtype=np.float64)
    present = present[~np.isnan(present)]
    low, high = (float(present.min()), float(present.max())) if len(present) else (0.0, 0.0)
    return NumberInput(name=name, minimum=low, maximum=high, origin=_origin(present))


def tensor_column(schema: Input, column: npt.NDArray[np.float64] | Sequence[str | None]) -> Column:
    """The values as a split keeps them: float32 [n, 1], int32 codes [n, 1], or texts in an object array [n]."""
    if isinstance(schema, NumberInput):
        return schema.cast(np.asarray(column, dtype=np.float64))
    if isinstance(schema, CategoryInput):
        return category_codes([word if isinstance(word, str) else None for word in column], schema.codes)
    texts = np.empty(len(column), dtype=object)
    texts[:] = ["" if text is None else text for text in column]
    return texts


def _parsed(values: pl.Series) -> pl.Series:
    """float64 with null where there is no finite number; "nan" and "inf" are words."""
    if values.dtype == pl.String:
        values = values.str.strip_chars().cast(pl.Float64, strict=False)
        return values.set(~values.is_finite().fill_null(value=True), None)
    return values.cast(pl.Float64)


def _check_all_numbers(values: pl.Series, rows: Indices, where: Path) -> None:
    if not (values.dtype.is_numeric() or values.dtype == pl.String):
        raise Refusal(where, f"column {values.name!r}", expected="numbers", found=str(values.dtype))
    words_there = (values.is_not_null() & _parsed(values).is_null()).arg_true()
    if words_there.len():
        expected = "a number, as nearly all others are (or this marker in data.missing, or the column in categories)"
        raise _bad_cell(values, rows, int(words_there[0]), expected, where)


def _bad_cell(values: pl.Series, rows: Indices, place: int, expected: str, where: Path) -> Refusal:
    field = f"column {values.name!r}, row {rows[place]}"
    return Refusal(where, field, expected=expected, found=shorten(values[place]))


def _has_leading_zero(values: pl.Series) -> bool:
    return bool(values.str.contains(r"^[+-]?0[0-9]").any())


def _is_open(values: pl.Series) -> bool:
    """Whether these are texts: too many, too long, or nearly all different."""
    different = values.n_unique()
    mean_length = values.str.len_chars().mean()
    is_long = isinstance(mean_length, float) and mean_length > _LONG_WORDS
    return different > _MOST_WORDS or is_long or different > max(_FEW_WORDS, values.len() / 2)


def _origin(values: npt.NDArray[np.float64]) -> float:
    """0, or the middle of a range far from 0 where float32 would make different values equal (a time in seconds)."""
    if not len(values):
        return 0.0
    distinct = np.unique(values)
    if len(np.unique(distinct.astype(np.float32))) == len(distinct):
        return 0.0
    middle = float(np.round(distinct[0] / 2 + distinct[-1] / 2))
    kept = [len(np.unique((distinct - origin).astype(np.float32))) for origin in (0.0, middle)]
    return middle if kept[1] > kept[0] else 0.0
