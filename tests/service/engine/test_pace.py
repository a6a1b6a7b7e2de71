"""Measured runs → how long the next one takes."""

from __future__ import annotations

import pytest

from service.engine.pace import Pace


def test_nothing_is_known_before_the_first_run() -> None:
    """So the first is made at once."""
    assert Pace().expected(1) == 0


def test_a_size_that_ran_is_expected_to_take_as_long() -> None:
    """Also one of the same class."""
    pace = Pace()
    pace.note(5, 0.25)
    assert pace.expected(5) == pace.expected(7) == 0.25


def test_a_larger_size_is_expected_in_proportion() -> None:
    """And a smaller one, of which nothing is known, to be short."""
    pace = Pace()
    pace.note(4, 0.25)
    assert pace.expected(16) == 1.0
    assert pace.expected(3) == 0


def test_a_mean_follows_what_is_measured() -> None:
    """One late run does not decide, many do."""
    pace = Pace()
    pace.note(1, 1.0)
    pace.note(1, 2.0)
    assert pace.expected(1) == pytest.approx(1.2)
    for _ in range(100):
        pace.note(1, 3.0)
    assert pace.expected(1) == pytest.approx(3.0)
