"""What waits → whether more is taken, and when to come again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from clipmax.problems import Problem
from service.admission import Admission, Bounds

BOUNDS = Bounds(rows=10, body_bytes=100, client_rows=0)


@dataclass
class Place:
    """One request."""

    client: bytes = b"somebody"
    body_bytes: int = 0
    rows: int = 0


def test_a_full_queue_refuses_before_anything_is_read() -> None:
    """And takes again once somebody was answered."""
    admission, place = Admission(BOUNDS), Place()
    admission.charge_rows(place, 10)
    with pytest.raises(Problem, match="QUEUE_FULL"):
        admission.check()
    admission.release(place)
    admission.check()
    assert (admission.rows, admission.body_bytes) == (0, 0)


def test_bytes_are_charged_as_they_come() -> None:
    """What one request holds already does not turn its own rest away."""
    admission, first, second = Admission(BOUNDS), Place(), Place()
    admission.charge_bytes(first, 60)
    with pytest.raises(Problem, match="QUEUE_FULL"):
        admission.charge_bytes(second, 60)
    assert second.body_bytes == 0
    admission.release(second)
    admission.charge_bytes(first, 60)
    assert admission.body_bytes == 120


def test_a_single_request_is_always_taken() -> None:
    """Otherwise one that is larger than the queue could never be answered."""
    admission = Admission(BOUNDS)
    admission.charge_rows(Place(), 1000)
    with pytest.raises(Problem, match="QUEUE_FULL"):
        admission.charge_rows(Place(), 1)


def test_one_client_leaves_room_for_others() -> None:
    """And is taken again once its own rows were answered."""
    admission = Admission(Bounds(rows=10, body_bytes=100, client_rows=4))
    first, second = Place(b"a"), Place(b"a")
    admission.charge_rows(first, 4)
    with pytest.raises(Problem, match="this client"):
        admission.charge_rows(second, 1)
    admission.charge_rows(Place(b"b"), 4)
    admission.release(first)
    admission.charge_rows(second, 1)


def test_retry_after_is_the_time_that_the_queue_will_take() -> None:
    """Rows that wait times the measured time of a row, in whole seconds, at least one and at most a minute."""

    def asked(rows: int, seconds_per_row: float) -> int | None:
        admission = Admission(Bounds(rows=rows, body_bytes=1, client_rows=0))
        for _ in range(200):
            admission.note(10, 10 * seconds_per_row)
        admission.charge_rows(Place(), rows)
        with pytest.raises(Problem) as refused:
            admission.check()
        return refused.value.retry_after_seconds

    assert asked(1000, 0.0042) == 5
    assert asked(1000, 0.00001) == 1
    assert asked(1000, 10.0) == 60
