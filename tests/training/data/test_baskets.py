"""Purchases are split by time, once an item a basket, and what cannot be used is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clipmax.refusal import Refusal
from tests.training.purchases import HEADER, ROWS, source, write
from training.data import baskets
from training.data.baskets import Events, Task


def _read(folder: Path, **settings: Any) -> Events:
    return baskets.read(source(write(folder), **settings))


def _told(events: Events, task: Task) -> dict[str, list[str]]:
    """Customer → codes of the basket to be told."""
    return {
        events.customers[customer]: [events.items[item] for item in basket]
        for customer, basket in zip(task.customers, task.baskets, strict=True)
    }


def test_the_first_basket_after_the_day_is_to_be_told(tmp_path: Path) -> None:
    """Of customers who bought before it; later baskets and new customers are none of it."""
    events = _read(tmp_path)
    assert events.items == ("cup", "mug", "tea")
    assert _told(events, events.test) == {"ann": ["mug", "tea"], "bob": ["tea"]}
    assert _told(events, events.validation) == {"ann": ["tea"], "bob": ["cup"], "cat": ["mug"]}


def test_nothing_from_the_day_on_is_in_the_past(tmp_path: Path) -> None:
    """Purchases end before the day of each task, and an item counts once a basket."""
    events = _read(tmp_path)
    for task in (events.validation, events.test):
        assert (task.past.days < task.day).all()
    assert len(events.validation.past) == 4
    assert len(events.test.past) == 7


def test_the_future_does_not_decide_which_items_there_are(tmp_path: Path) -> None:
    """Two more rows of a code after the day change neither items nor past."""
    late = [("ann", "9", "jar", "2024-03-03"), ("bob", "12", "jar", "2024-03-05")]
    events = baskets.read(source(write(tmp_path, [*ROWS, *late])))
    assert events.items == ("cup", "mug", "tea")
    assert events.left_out["of rare or new items"] == 2


def test_a_rare_item_is_no_class(tmp_path: Path) -> None:
    """By its rows before the day, rows of one basket each counted."""
    assert _read(tmp_path, min_rows=2).items == ("cup", "mug", "tea")
    with pytest.raises(Refusal, match=r"items: expected 2 to 10,000 with 3 rows or more .* found 1"):
        _read(tmp_path, min_rows=3)


def test_a_basket_over_midnight_stays_whole(tmp_path: Path) -> None:
    """Its time is that of its first row."""
    rows = [*ROWS, ("cat", "11", "cup", "2024-02-29T23:59:00"), ("cat", "11", "tea", "2024-03-01T00:01:00")]
    events = baskets.read(source(write(tmp_path, rows)))
    assert "cat" not in _told(events, events.test)
    assert len(events.test.past) == 9


def test_rows_that_say_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    """Without a customer, given back, or of codes that are no goods."""
    rows = [(*row, "1") for row in ROWS]
    odd = [
        ("", "20", "tea", "2024-01-01", "1"),
        ("ann", "21", "tea", "2024-01-01", "-1"),
        ("ann", "22", "FEE", "2024-01-01", "1"),
    ]
    path = write(tmp_path, [*rows, *odd], (*HEADER, "count"))
    events = baskets.read(source(path, quantity="count", items="^[a-z]+$"))
    assert dict(events.left_out) == {
        "without a customer": 1,
        "with a quantity of zero or less": 1,
        "of items that are not wanted": 1,
        "of rare or new items": 0,
    }
    assert len(events.test.past) == 7


def test_typed_times_are_read_as_such(tmp_path: Path) -> None:
    """Parquet's times and strings of the same times give the same events."""
    as_text = _read(tmp_path)
    times = [datetime.fromisoformat(row[3]).replace(tzinfo=UTC) for row in ROWS]
    frame = pl.DataFrame(ROWS, schema=list(HEADER), orient="row").with_columns(pl.Series("when", times))
    frame.write_parquet(tmp_path / "purchases.parquet")
    typed = baskets.read(source(tmp_path / "purchases.parquet"))
    assert typed.test.past.days.tolist() == as_text.test.past.days.tolist()
    assert _told(typed, typed.test) == _told(as_text, as_text.test)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("ann", "", "tea", "2024-01-01"), r"column 'basket', row 14: expected a value, found nothing"),
        (("ann", "30", "", "2024-01-01"), r"column 'code', row 14: expected a value, found nothing"),
        (("ann", "30", "tea", ""), r"column 'when', row 14: expected a time in ISO 8601, found nothing"),
        (("ann", "30", "tea", "1/2/24"), r"column 'when', row 14: expected a time in ISO 8601, found '1/2/24'"),
        (("bob", "1", "tea", "2024-01-02"), r"column 'basket', basket '1': expected one customer, found several"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, row: tuple[str, ...], message: str) -> None:
    """With its column and its number, or its basket."""
    with pytest.raises(Refusal, match=message):
        baskets.read(source(write(tmp_path, [*ROWS, row])))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"customer": "client"}, r"columns: expected one named 'client'"),
        ({"quantity": "code"}, r"column 'code', row 1: expected a number, found 'tea'"),
        ({"items": "("}, r"items: expected a regular expression, found '\('"),
        ({"max_items": 2}, r"items: expected 2 to 2 .* found 3"),
        ({"test_from": "2025-01-01"}, r"validation split: expected customers who bought .* found none"),
        ({"test_from": "2024-01-31"}, r"validation split: expected customers who bought .* found none"),
        ({"test_from": "2020-01-01"}, r"items: expected 2 to 10,000 .* found 0"),
        ({"sha256": {"purchases.csv": "0" * 64}}, r"sha256: expected 0000"),
    ],
)
def test_a_setting_that_does_not_fit_the_file_is_named(tmp_path: Path, settings: Any, message: str) -> None:
    """With what was expected and what was found."""
    with pytest.raises(Refusal, match=message):
        _read(tmp_path, **settings)
