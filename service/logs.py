"""Events → JSON lines on stderr; what a caller sent never reaches them."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson

LOGGER = "clipmax"
_FIELDS = "clipmax_fields"


def configure(level: str) -> None:
    """Send everything that this process logs to stderr, one JSON object a line.

    uvicorn's own lines come from ERROR up: its news (started, stopped) is said by ours, with more in it, and its
    warnings are one for each malformed request, with which any stranger could fill a disk.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.getLogger(LOGGER).setLevel(level.upper())
    logging.captureWarnings(capture=True)  # Python, left alone, prints these three as plain text
    sys.unraisablehook = _on_unraisable
    threading.excepthook = _on_thread_failure


def write(level: int, event: str, **fields: Any) -> None:
    """Log one event with its fields (JSON values)."""
    logging.getLogger(LOGGER).log(level, event, extra={_FIELDS: fields})


def failure(event: str, error: BaseException, **fields: Any) -> None:
    """Log an exception that nobody expected: its type and where it was raised.

    Not its message: that of a ValueError often quotes the value.
    """
    write(logging.ERROR, event, error=type(error).__name__, at=_frames(error.__traceback__), **fields)


def _on_unraisable(raised: sys.UnraisableHookArgs) -> None:
    """An exception where nobody could catch it, as in a finalizer."""
    if raised.exc_value is not None:
        failure("exception ignored", raised.exc_value)


def _on_thread_failure(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None:
        failure("thread failed", ended.exc_value)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if record.name != LOGGER:
            line["logger"] = record.name
        line |= getattr(record, _FIELDS, {})
        if record.exc_info and record.exc_info[0] is not None:
            line |= {"error": record.exc_info[0].__name__, "at": _frames(record.exc_info[2])}
        return orjson.dumps(line, default=str).decode()


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
