"""What a connection is at."""

from __future__ import annotations

import enum


class Stage(enum.Enum):
    """What a connection does with the bytes that arrive."""

    HEADERS = enum.auto()
    BODY = enum.auto()
    COMPLETE = enum.auto()
    """A whole request is read; the next byte begins another."""
    DEAF = enum.auto()
    """Nothing more is read, but an answer is still to come."""
    LINGER = enum.auto()
    """The last answer is written; what still arrives is thrown away, because closing on unread bytes would make
    the kernel reset the connection and take the answer with it."""
