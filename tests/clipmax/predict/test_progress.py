"""One line says how far a file is answered."""

from __future__ import annotations

import pytest

from clipmax.predict.progress import line


@pytest.mark.parametrize(
    ("rows", "done", "seconds", "expected"),
    [
        (0, 0.0, 0.0, "░░░░░░░░░░░░░░░░░░░░   0%  0 rows, 0 a second"),
        (1200, 0.25, 10.0, "█████░░░░░░░░░░░░░░░  25%  1,200 rows, 120 a second, 0:30 left"),
        (9, 1.0, 7200.0, "████████████████████ 100%  9 rows, 0 a second, 0:00 left"),
        (9, 0.5, 7200.0, "██████████░░░░░░░░░░  50%  9 rows, 0 a second, 2:00:00 left"),
    ],
)
def test_the_line_has_bar_rows_speed_and_time_left(rows: int, done: float, seconds: float, expected: str) -> None:
    """The time, as soon as it can be known."""
    assert line(rows, done, seconds) == expected
