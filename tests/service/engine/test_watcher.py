"""The thread that looks."""

from __future__ import annotations

import logging
import threading

import pytest

from service.engine.watcher import Watcher


def test_it_looks_until_it_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """All looks in turn, whatever one of them raises."""
    seen, often = [], threading.Event()

    def fail() -> None:
        seen.append("fail")
        raise ValueError("secret")

    def note() -> None:
        seen.append("note")
        if len(seen) > 5:
            often.set()

    watcher = Watcher(0.01, [fail, note])
    with caplog.at_level(logging.ERROR):
        watcher.start()
        assert often.wait(30)
        watcher.stop()
    count = len(seen)
    assert seen[:4] == ["fail", "note", "fail", "note"]
    assert {record.getMessage() for record in caplog.records} == {"watching failed"}
    assert "secret" not in str([vars(record) for record in caplog.records])
    assert not [thread for thread in threading.enumerate() if thread.name == "watch"]
    assert len(seen) == count


def test_without_an_interval_it_never_looks() -> None:
    """And can be stopped all the same."""
    watcher = Watcher(0, [lambda: pytest.fail("looked")])
    watcher.start()
    watcher.stop()
