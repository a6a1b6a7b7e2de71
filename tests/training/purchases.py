"""Small files of purchases whose every figure can be counted by hand."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from training.config import EventSource

Row = tuple[str, str, str, str]
"""Customer, basket, item, time."""

HEADER = ("who", "basket", "code", "when")
ROWS: Sequence[Row] = (
    ("ann", "1", "tea", "2024-01-02"),
    ("ann", "1", "cup", "2024-01-02"),
    ("bob", "2", "tea", "2024-01-03 10:00:00"),
    ("bob", "2", "tea", "2024-01-03 10:00:00"),
    ("cat", "3", "mug", "2024-01-04"),
    ("ann", "4", "tea", "2024-02-10"),
    ("bob", "5", "cup", "2024-02-11"),
    ("cat", "6", "mug", "2024-02-12"),
    ("ann", "7", "mug", "2024-03-01T09:00:00"),
    ("ann", "7", "tea", "2024-03-01T09:00:00"),
    ("bob", "8", "tea", "2024-03-02"),
    ("ann", "9", "cup", "2024-03-03"),
    ("eve", "10", "cup", "2024-03-04"),
)
"""The test begins on 1 March; validation is February. Eve is known to neither."""


def write(folder: Path, rows: Sequence[Sequence[str]] = ROWS, header: Sequence[str] = HEADER) -> Path:
    path = folder / "purchases.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def source(path: Path, **settings: Any) -> EventSource:
    columns = {"customer": "who", "basket": "basket", "item": "code", "time": "when"}
    given = {"source": "events", "file": path, "min_rows": 1, "test_from": date(2024, 3, 1), **columns, **settings}
    return EventSource.model_validate(given)
