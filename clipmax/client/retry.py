"""An error → the pause before the next attempt, or the error again where there is none."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from clipmax.client.errors import ClientError, ServerError, Unreachable

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When to try again: after errors that say they are retryable and broken connections; prediction changes nothing.

    The pause is the service's `Retry-After`, else it doubles from 0.1 s, with jitter. No attempt starts after
    `attempts`, nor if its pause would end more than `total_seconds` after the first one began.
    """

    attempts: int = 4
    total_seconds: float = 30.0


class Attempts:
    """Counts the attempts of one request and says how long to pause before the next."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._made = 0
        self._deadline = time.monotonic() + retry.total_seconds

    def pause_after(self, error: ClientError) -> float:
        """Seconds until the next attempt; raises `error` where there is none."""
        self._made += 1
        if self._made >= self._retry.attempts or not _may_repeat(error):
            raise error
        pause = self._pause(error)
        if time.monotonic() + pause > self._deadline:
            raise error
        return pause

    def _pause(self, error: ClientError) -> float:
        if isinstance(error, ServerError) and error.retry_after_seconds is not None:
            return error.retry_after_seconds
        longest = min(_FIRST_PAUSE_SECONDS * 2.0 ** (self._made - 1), _LONGEST_PAUSE_SECONDS)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311  # spreads clients over time, guards nothing


def _may_repeat(error: ClientError) -> bool:
    return isinstance(error, ServerError | Unreachable) and error.retryable
