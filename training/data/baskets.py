"""A table of events, one row an item bought → purchases before two points in time, and each customer's basket after.

Nothing that happens at or after a point in time is seen by what answers for it: customers, items and histories come
from before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from clipmax.labels import fault as label_fault
from clipmax.refusal import Refusal, shorten
from training.config import EventSource
from training.data import frames
from training.data.dataset import Indices, checksums

Days = npt.NDArray[np.float64]
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CUSTOMER, _BASKET, _ITEM, _DAYS = "customer", "basket", "item", "days"


@dataclass(frozen=True, slots=True)
class Purchases:
    """Items bought, each once a basket, in order of time.

    Args:
        customers: number of the customer, int64 [E].
        baskets: number of the basket, int64 [E].
        items: number of the item, int64 [E].
        days: when the basket began, in days since 1970, float64 [E].
    """

    customers: Indices
    baskets: Indices
    items: Indices
    days: Days

    def __len__(self) -> int:
        return len(self.items)

    def before(self, day: float) -> Purchases:
        return self._take(slice(0, int(np.searchsorted(self.days, day))))

    def since(self, day: float) -> Purchases:
        return self._take(slice(int(np.searchsorted(self.days, day)), None))

    def _take(self, rows: slice) -> Purchases:
        return Purchases(self.customers[rows], self.baskets[rows], self.items[rows], self.days[rows])


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be told at one point in time.

    Args:
        day: the point in time, in days since 1970.
        past: all purchases before it.
        customers: those who bought before it and again after it, int64 [R], ascending.
        baskets: of each of them the items of the first basket from then on, int64, ascending.
    """

    day: float
    past: Purchases
    customers: Indices
    baskets: tuple[Indices, ...]

    def __len__(self) -> int:
        return len(self.customers)


@dataclass(frozen=True, slots=True)
class Events:
    """Everything that next baskets are learned from and judged by.

    Args:
        items: the codes of item 0, 1, ….
        customers: the names of customer 0, 1, ….
        validation: the task that settings are chosen by.
        test: the task that nothing is chosen by.
        files: file name → SHA-256 of the file as read.
        left_out: why rows of the file are not used → how many.
    """

    items: tuple[str, ...]
    customers: tuple[str, ...]
    validation: Task
    test: Task
    files: Mapping[str, str]
    left_out: Mapping[str, int]


def read(source: EventSource, *, items: tuple[str, ...] | None = None) -> Events:
    """Read, check, clean and split.

    Args:
        source: the `[data]` section.
        items: only these, in this order; None: those with enough rows before the test.

    Raises:
        Refusal: what `frames.read` refuses; a column that is not there; a row without a basket, an item or a time, or
            with a time or quantity that is none; a basket of two customers; too few items; a point in time before or
            after which nothing is to be told.
    """
    files = checksums([source.file], source.sha256)
    frame, left_out = _clean(source, _columns(source, frames.read(source.file)))
    _check_baskets(source, frame)
    end = _day(source.test_from)
    items = items or _items(source, frame, end)
    known = _of_items(source, frame, items)
    left_out["of rare or new items"] = frame.height - known.height
    customers = tuple(known[_CUSTOMER].unique().sort())
    purchases = _purchases(known, items, customers)
    validation = task(purchases.before(end), end - source.validation_days)
    test = task(purchases, end)
    for name, one in (("validation", validation), ("test", test)):
        if not len(one):
            expected = "customers who bought before it and again from then on"
            raise Refusal(source.file, f"{name} split", expected=expected, found="none")
    return Events(items, customers, validation, test, files, left_out)


def task(purchases: Purchases, day: float) -> Task:
    """What is to be told at a point in time, of purchases before and after it; perhaps of no customer."""
    past, future = purchases.before(day), purchases.since(day)
    known = np.isin(future.customers, past.customers)
    customers, first_rows = np.unique(future.customers[known], return_index=True)
    first_baskets = future.baskets[known][first_rows]
    baskets = tuple(np.sort(future.items[future.baskets == basket]) for basket in first_baskets)
    return Task(day, past, customers, baskets)


def _columns(source: EventSource, frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that are used, under our names, with null for what is missing."""
    wanted = {_CUSTOMER: source.customer, _BASKET: source.basket, _ITEM: source.item, _DAYS: source.time}
    if source.quantity is not None:
        wanted["quantity"] = source.quantity
    columns = {name: frames.column(frame, column, where=source.file) for name, column in wanted.items()}
    return pl.DataFrame({name: frames.without_missing(column, source.missing) for name, column in columns.items()})


def _clean(source: EventSource, frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Rows that say who bought what and when, with the reasons for which others are left out."""
    for name, column in ((_BASKET, source.basket), (_ITEM, source.item)):
        _check_is_there(source, column, frame[name])
    frame = frame.with_columns(pl.col(_CUSTOMER, _BASKET, _ITEM).cast(pl.String), _days(source, frame[_DAYS]))
    rules = [("without a customer", pl.col(_CUSTOMER).is_not_null())]
    if source.quantity is not None:
        frame = frame.with_columns(_quantities(source, source.quantity, frame["quantity"]))
        rules.append(("with a quantity of zero or less", pl.col("quantity") > 0))
    if source.items is not None:
        rules.append(("of items that are not wanted", _matches(source, frame[_ITEM], source.items)))
    left_out: dict[str, int] = {}
    for reason, rule in rules:
        kept = frame.filter(rule)
        left_out[reason], frame = frame.height - kept.height, kept
    return frame, left_out


def _check_is_there(source: EventSource, column: str, values: pl.Series) -> None:
    if values.null_count():
        row = int(values.is_null().arg_true()[0]) + 1
        raise Refusal(source.file, f"column {column!r}, row {row}", expected="a value", found="nothing")


def _matches(source: EventSource, items: pl.Series, pattern: str) -> pl.Expr:
    """Checked here, because the configuration cannot: polars' patterns are not Python's."""
    try:
        items.head(1).str.contains(pattern)
    except pl.exceptions.ComputeError as error:
        raise Refusal(source.file, "items", expected="a regular expression", found=shorten(pattern)) from error
    return pl.col(_ITEM).str.contains(pattern)


def _quantities(source: EventSource, column: str, values: pl.Series) -> pl.Series:
    numbers = values.cast(pl.Float64, strict=False)
    _check_readable(source, column, values, numbers.is_null() | numbers.is_nan(), "a number")
    return numbers.alias("quantity")


def _days(source: EventSource, values: pl.Series) -> pl.Series:
    """Days since 1970 of times and dates, or of strings in ISO 8601; without an offset they count as UTC."""
    found = {value: _read_day(value) for value in values.unique()}
    days = pl.Series(_DAYS, [found[value] for value in values], dtype=pl.Float64)
    _check_readable(source, source.time, values, days.is_null(), "a time in ISO 8601")
    return days


def _read_day(value: object) -> float | None:
    try:
        return _day(datetime.fromisoformat(value) if isinstance(value, str) else value)
    except ValueError:
        return None


def _day(value: object) -> float:
    """Days since 1970. Raises ValueError for what is no date or time."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise ValueError("a date or time")  # noqa: TRY004  # one error for all that a cell can be
    return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) / _DAY


def _check_readable(source: EventSource, column: str, values: pl.Series, bad: pl.Series, expected: str) -> None:
    if bad.any():
        row = int(bad.arg_true()[0])
        found = "nothing" if values[row] is None else shorten(values[row])
        raise Refusal(source.file, f"column {column!r}, row {row + 1}", expected=expected, found=found)


def _check_baskets(source: EventSource, frame: pl.DataFrame) -> None:
    owners = frame.group_by(_BASKET).agg(pl.col(_CUSTOMER).n_unique())
    shared = owners.filter(pl.col(_CUSTOMER) > 1)[_BASKET].sort()
    if len(shared):
        field = f"column {source.basket!r}, basket {shorten(shared[0])}"
        raise Refusal(source.file, field, expected="one customer", found="several")


def _items(source: EventSource, frame: pl.DataFrame, end: float) -> tuple[str, ...]:
    """The codes with enough rows before the test, in order of their code points."""
    counts = frame.filter(pl.col(_DAYS) < end).group_by(_ITEM).len()
    items = tuple(counts.filter(pl.col("len") >= source.min_rows)[_ITEM].sort())
    if not 2 <= len(items) <= source.max_items:
        expected = f"2 to {source.max_items:,} with {source.min_rows} rows or more before {source.test_from}"
        raise Refusal(source.file, "items", expected=expected, found=f"{len(items):,}")
    fault = label_fault(items)
    if fault:
        raise Refusal(source.file, f"column {source.item!r}", expected=fault, found="these items")
    return items


def _of_items(source: EventSource, frame: pl.DataFrame, items: tuple[str, ...]) -> pl.DataFrame:
    known = frame.filter(pl.col(_ITEM).is_in(items))
    if not known.height:
        expected = f"at least one of the {len(items):,} items that are asked about"
        raise Refusal(source.file, f"column {source.item!r}", expected=expected, found="none of them")
    return known


def _purchases(known: pl.DataFrame, items: tuple[str, ...], customers: tuple[str, ...]) -> Purchases:
    """Each item once a basket; a basket's time is that of its first row, so that no point in time cuts it."""
    ordered = (
        known.with_columns(
            pl.col(_DAYS).min().over(_BASKET),
            pl.col(_BASKET).rank("dense").cast(pl.Int64) - 1,
            pl.col(_ITEM).replace_strict(_numbers(items), return_dtype=pl.Int64),
            pl.col(_CUSTOMER).replace_strict(_numbers(customers), return_dtype=pl.Int64),
        )
        .unique([_BASKET, _ITEM])
        .sort(_DAYS, _BASKET, _ITEM)
    )
    return Purchases(*(ordered[name].to_numpy() for name in (_CUSTOMER, _BASKET, _ITEM, _DAYS)))


def _numbers(words: tuple[str, ...]) -> dict[str, int]:
    return {word: number for number, word in enumerate(words)}
