"""Measured runs of a session → how long the next one will take."""

from __future__ import annotations

_WEIGHT = 0.2
"""Of the newest measurement in the running mean."""

_CLASSES = 40


class Pace:
    """A running mean of seconds for each size of run, where sizes that differ by less than a factor of two are one.

    Small runs cost a call and large ones arithmetic, so no single figure for a row would do for both.
    """

    def __init__(self) -> None:
        self._seconds = [0.0] * _CLASSES

    def note(self, size: int, seconds: float) -> None:
        """A run of `size` rows (or padded code points) took so long."""
        known = self._seconds[size.bit_length()]
        self._seconds[size.bit_length()] = known + _WEIGHT * (seconds - known) if known else seconds

    def expected(self, size: int) -> float:
        """Seconds; of a size that never ran, that of the next smaller one that did, in proportion; 0 if none did."""
        asked = size.bit_length()
        for known in range(asked, -1, -1):
            if self._seconds[known]:
                return float(self._seconds[known] * 2 ** (asked - known))
        return 0.0
