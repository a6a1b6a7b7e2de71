"""What a column is, by the documented rules."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from training.data import kinds

WHERE = Path("table.csv")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3], "number"),
        ([1.5, None], "number"),
        ([True, False], "category"),
        (["1", " 2.5 ", "-3e4", None], "number"),
        (["01234", "99999"], "category"),
        (["nan", "inf", "nan"], "category"),
        (["red", "green", "red", "green", None], "category"),
        (["36", "37", "XL", "36", "37", "XL"], "category"),
        ([f"title {number}" for number in range(30)], "text"),
        ([f"word {number % 1500}" for number in range(9000)], "text"),
        (["a long sentence that says something about something else"] * 9, "text"),
        ([None, None], "category"),
    ],
)
def test_the_kind_of_a_column_is_inferred(values: list[object], kind: str) -> None:
    """Numbers by type or by what all strings are, texts by their variety or length."""
    column = pl.Series("c", values, dtype=pl.String if values == [None, None] else None)
    assert kinds.infer(column, np.arange(1, len(values) + 1), where=WHERE) == kind


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([0.1, 2.0], dtype=pl.Float32), ["0.1", "2"]),
        ([1, None], ["1", None]),
        ([1.0, 2.5], ["1", "2.5"]),
        ([Decimal("1.50")], ["1.5"]),
        ([True], ["true"]),
        ([" é "], [" é "]),
    ],
)
def test_words_are_spelled_value_by_value(values: list[object] | pl.Series, expected: list[str | None]) -> None:
    """Nothing is trimmed or folded, here or in the service, and what stands beside a value does not matter."""
    assert kinds.words(pl.Series("c", values)) == expected


@pytest.mark.parametrize(
    ("values", "has_origin"),
    [([0.1, 0.2, 0.3], False), ([1e30, -1e30], False), ([1.7e9 + 1, 1.7e9 + 2], True), ([2.0**24 + 1, 2.0**24], True)],
)
def test_an_origin_is_taken_off_only_where_float32_loses_values(values: list[float], has_origin: bool) -> None:
    """Everywhere else the graph takes the number as it is."""
    schema = kinds.schema("number", "c", np.array(values), text_length=9)
    assert schema.kind == "number"
    assert (schema.origin != 0.0) == has_origin
    assert len(np.unique(schema.cast(np.array(values)))) == len(values)
