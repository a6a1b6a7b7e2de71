"""One contender as a process: a line on standard input starts an epoch, a line of JSON on standard output ends it."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable

Epoch = Callable[[], dict[str, float]]
"""Trains one epoch, all work done when it returns, and returns its mean `loss`; other figures take precedence."""


def limit_cores(cores: int) -> None:
    """Run on so many cores; before any library counts them."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    os.environ["OMP_NUM_THREADS"] = str(cores)


def obey(epoch: Epoch) -> None:
    """Report seconds on the clock, seconds of processor time, mean loss, and the peak memory so far in MiB."""
    _report(ready=True)
    for _ in sys.stdin:
        started, used = time.perf_counter(), time.process_time()
        figures = epoch()
        measured = {
            "seconds": time.perf_counter() - started,
            "processor_seconds": time.process_time() - used,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        _report(**{**measured, **figures})


def _report(**figures: float) -> None:
    print(json.dumps(figures), flush=True)
