"""The service on a core of its own, and the form of what a part found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.service.running import Running, serving

SERVER_CORE, CLIENT_CORE = 0, 1

Found = tuple[str, bool]
"""A line about what was seen beside what was asked for, and whether that was met."""


@contextmanager
def started(root: Path, folder: Path, *flags: str) -> Iterator[Running]:
    """The service on its core."""
    with serving(root, folder, "--threads", "1", *flags) as running:
        for task in Path(f"/proc/{running.process.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {SERVER_CORE})
        yield running
