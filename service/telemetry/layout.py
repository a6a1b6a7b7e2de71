"""Where each count lies in the memory that worker processes share: all of it 64-bit floats, all places fixed.

A worker has one page: a cell for itself, then one cell for each version that it serves. Floats are written whole, so
a worker that is killed leaves nothing half written, and they count exactly up to 2⁵³.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clipmax.problems import CATALOGUE
from service.telemetry import metric, route

STATUSES = tuple(sorted({200, 204, *(code for kind in CATALOGUE.values() for code in (kind.status, kind.status_v2))}))
CLASSES = ("2xx", "4xx", "5xx")
"""Of statuses, for latencies: a histogram for each single status would be ten times as many series."""

CODES = tuple(CATALOGUE)
GAUGES = (metric.IN_PROGRESS, metric.QUEUE_ROWS, metric.QUEUE_BYTES, metric.BUSY, metric.WORKERS)
REMARKS = (
    metric.SATURATED,
    metric.ABSTAINED,
    metric.OUT_OF_RANGE,
    metric.UNKNOWN,
    metric.TRUNCATED,
    metric.NOVEL,
    metric.NON_FINITE,
)

LABELS = 50
"""Labels that are counted one by one: the most frequent ones on validation; the rest together."""

INPUTS, INPUT_BINS = 32, 36
"""Inputs whose drift is measured, the first ones of the manifest, and the most bins that one of them has."""

WINDOW = LABELS + 1 + metric.CONFIDENCE_BINS + INPUTS * INPUT_BINS
"""Counts of a window of the drift: labels, confidence, then the bins of each input."""

NAME_BYTES = 64
CELLS = 65
"""One for the worker, 63 for versions, and the last for all versions beyond those."""


def _histogram(one: metric.Metric) -> int:
    """A count for each bucket, one for what lies above, and the sum."""
    return len(one.buckets) + 2


class Layout:
    """Blocks of floats one after the other in a cell."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = dict(shapes)
        self.offsets: dict[str, int] = {}
        self.size = 0
        for name, shape in shapes.items():
            self.offsets[name] = self.size
            self.size += math.prod(shape)

    def view(self, cell: Any, name: str) -> Any:
        """A block of a numpy array [size], in its shape, without a copy."""
        start, shape = self.offsets[name], self.shapes[name]
        return cell[start : start + math.prod(shape)].reshape(shape)


WORKER = Layout(
    {
        "cells": (1,),
        "starts": (1,),
        "gauges": (len(GAUGES),),
        "abandoned": (1,),
        "problems": (len(CODES),),
        "requests": (len(route.TEMPLATES), len(STATUSES) + 1),
        "latency": (len(route.TEMPLATES), len(CLASSES), _histogram(metric.LATENCY)),
    }
)
VERSION = Layout(
    {
        "number": (1,),
        "seal": (1,),
        "name": (NAME_BYTES // 8,),
        "requests": (len(route.PREDICT), len(STATUSES) + 1),
        "latency": (len(route.PREDICT), len(CLASSES), _histogram(metric.LATENCY)),
        "queue_wait": (_histogram(metric.QUEUE_WAIT),),
        "rows": (_histogram(metric.ROWS),),
        "inference": (_histogram(metric.INFERENCE),),
        "labels": (LABELS + 1,),
        "confidence": (_histogram(metric.CONFIDENCE),),
        "entropy": (_histogram(metric.ENTROPY),),
        "remarks": (len(REMARKS),),
        # Two windows of time, each with its number; see `drift`.
        "windows": (2, 1 + WINDOW),
    }
)
CELL = max(WORKER.size, VERSION.size)
PAGE_BYTES = 8 * CELL * CELLS


def scalars(block: Any) -> Any:
    """A numpy array whose numbers are read and written one by one: a memoryview does that faster."""
    return memoryview(block)


def status_place(status: int) -> int:
    """Of a status among those that are counted; the last place is for any other."""
    return _STATUS_PLACES.get(status, len(STATUSES))


def class_place(status: int) -> int:
    """Of a status among the classes."""
    return 0 if status < 400 else 1 if status < 500 else 2


def shown_statuses() -> Sequence[str]:
    """Labels of the places."""
    return [*map(str, STATUSES), route.OTHER]


_STATUS_PLACES = {status: place for place, status in enumerate(STATUSES)}
BUSY_PLACE, WORKERS_PLACE = GAUGES.index(metric.BUSY), GAUGES.index(metric.WORKERS)
