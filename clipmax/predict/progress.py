"""How far a file has been answered → one line on a terminal, which a later one overwrites."""

from __future__ import annotations

import time
from typing import TextIO

_SECONDS_BETWEEN = 0.1
_BAR = 20


class Progress:
    """Says nothing where the stream is no terminal, or there is none."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None
        self._started = self._shown = time.monotonic()
        self._width = 0

    def show(self, rows: int, done: float) -> None:
        """`rows` are answered, `done` is the share of the file that has been read."""
        now = time.monotonic()
        if self._stream is not None and now - self._shown >= _SECONDS_BETWEEN:
            self._shown = now
            self._write(line(rows, done, now - self._started))

    def clear(self) -> None:
        """Leave an empty line, for what is printed next."""
        if self._stream is not None and self._width:
            self._stream.write(f"\r{' ' * self._width}\r")
            self._stream.flush()
            self._width = 0

    def _write(self, text: str) -> None:
        assert self._stream is not None  # noqa: S101  # the callers have looked
        self._stream.write(f"\r{text.ljust(self._width)}")
        self._stream.flush()
        self._width = len(text)


def line(rows: int, done: float, seconds: float) -> str:
    """A bar, the rows so far, their speed and the time that is left."""
    bar = "█" * round(_BAR * done)
    left = f", {_clock(seconds / done - seconds)} left" if done > 0 else ""
    return f"{bar:░<{_BAR}} {done:4.0%}  {rows:,} rows, {rows / max(seconds, 1e-9):,.0f} a second{left}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
