"""What one version does in one process → its counts in the ledger."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clipmax.manifest import Manifest
from service.engine.metering import Run
from service.telemetry import drift, layout, metric

_SATURATED, _NOVEL = 0.999, 0.01
_LATENCY, _INFERENCE, _ROWS = metric.LATENCY_SECONDS, metric.INFERENCE_SECONDS, metric.BATCH_ROWS
_STATUS_COUNT = len(layout.STATUSES) + 1
_CLASS_COUNT, _WIDTH = len(layout.CLASSES), len(_LATENCY) + 2
_OK = 200
_OK_PLACES = layout.status_place(_OK), layout.class_place(_OK)
_CONFIDENCE = np.array(metric.CONFIDENCE.buckets, dtype=np.float32)
_ENTROPY = np.array(metric.ENTROPY.buckets, dtype=np.float32)
_LABELS_END = 1 + layout.LABELS + 1
_CONFIDENCE_END = _LABELS_END + len(_CONFIDENCE)
"""Of a window, whose first float is its number."""

_RUNS_TOGETHER, _VALUES_TOGETHER = 32, 64 * 1024
"""So many runs, or rows times labels, are counted together: the counting is numpy calls, which cost about two
microseconds each and little more for each row, and three times that where a quiet service runs them one by one."""

_KEPT_BYTES = 4096
"""Inputs of a run up to this size, as one digit has, may be kept until it is counted; images can have megabytes."""

_LEAST = float(np.finfo(np.float32).tiny)

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Places = list[npt.NDArray[np.intp]]
"""Of each input that has a reference, the bins of a run's rows."""


class _Ran(NamedTuple):
    """A run that is not counted yet: what it gave and was given, or where that belongs, and its seconds."""

    run: Run
    given: Any
    places: Places | None
    seconds: float


class Labels:
    """Which labels of a model are counted one by one: the most frequent on validation, without a reference the first.

    Attributes:
        shown: their numbers, in order of their places; the last place is for the rest.
        places: of every label.
    """

    def __init__(self, manifest: Manifest) -> None:
        count = manifest.classes
        reference = manifest.reference
        weights = (
            np.zeros(count)
            if reference is None or len(reference.predicted) != count
            else -np.array(reference.predicted)
        )
        self.shown = np.sort(np.argsort(weights, kind="stable")[: layout.LABELS]).tolist()
        self.places = np.full(count, layout.LABELS, dtype=np.intp)
        self.places[self.shown] = np.arange(len(self.shown))


class _Window(NamedTuple):
    """One window of the drift in the cell: its number, then the counts of labels, confidence and each input."""

    whole: Floats
    labels: Floats
    confidence: Floats
    inputs: list[Floats]

    @classmethod
    def of(cls, whole: Floats, input_bins: Sequence[int]) -> _Window:
        starts = [_CONFIDENCE_END + number * layout.INPUT_BINS for number in range(len(input_bins))]
        inputs = [whole[start : start + count] for start, count in zip(starts, input_bins, strict=True)]
        return cls(whole, whole[1:_LABELS_END], whole[_LABELS_END:_CONFIDENCE_END], inputs)


class Meter:
    """Counts for one session. `ran` is for whichever thread makes its runs, the others for the event loop.

    Requests are counted at once, for a worker may be killed. What their rows were is counted for several runs
    together, so that a row costs less the busier the service is; `settle` does it for those that wait.

    Args:
        cell: the session's part of the process's page, float64 [layout.CELL].
        manifest: of the session.
        window_seconds: length of a window of the drift.
    """

    def __init__(self, cell: Floats, manifest: Manifest, window_seconds: float) -> None:
        def block(name: str) -> Any:
            return layout.VERSION.view(cell, name)

        self._numbers = layout.scalars(cell)
        self._lock = Lock()  # runs are told by whichever thread made them, and counted by the event loop
        self._requests, self._latency = layout.VERSION.offsets["requests"], layout.VERSION.offsets["latency"]
        self._queue_wait, self._inference = layout.scalars(block("queue_wait")), layout.scalars(block("inference"))
        self._rows = layout.scalars(block("rows"))
        self._labels, self._confidence, self._entropy = block("labels"), block("confidence")[:-1], block("entropy")[:-1]
        self._sums = layout.scalars(block("confidence")), layout.scalars(block("entropy"))
        self._remarks = layout.scalars(block("remarks"))
        self._window_seconds = window_seconds
        self._places = Labels(manifest).places
        self._is_top, self._label_count = manifest.is_top, manifest.classes
        self._highest_entropy = float(np.log(self._label_count))
        self._threshold = _threshold(manifest)
        self._novel_above = _novel_above(manifest)
        reference = manifest.reference
        self._inputs = () if reference is None else tuple(drift.inputs_of(manifest.inputs, reference).items())
        self._windows = [_Window.of(one, [len(bins.shares) for _, bins in self._inputs]) for one in block("windows")]
        weights = 0 if self._is_top else self._label_count
        self._entropy_weights = np.full(weights, -1 / self._highest_entropy, dtype=np.float32)
        self._waits: list[float] = []
        self._waiting: list[_Ran] = []
        self._waiting_values = 0
        self.run_seconds = 0.0

    def answered(self, route: int, status: int, seconds: float) -> None:
        """A request was answered; `route` is the number of one that asks a version."""
        numbers = self._numbers
        status_place, class_place = (
            _OK_PLACES if status == _OK else (layout.status_place(status), layout.class_place(status))
        )
        numbers[self._requests + route * _STATUS_COUNT + status_place] += 1.0
        start = self._latency + (route * _CLASS_COUNT + class_place) * _WIDTH
        numbers[start + bisect_left(_LATENCY, seconds)] += 1.0
        numbers[start + _WIDTH - 1] += seconds

    def waited(self, waits: Iterable[float]) -> None:
        """Requests have their turn, after so many seconds in the queue."""
        self._waits.extend(waits)

    def ran(self, run: Run, tensors: Any, seconds: float, *, lasts: bool) -> None:
        """A run has ended.

        Args:
            run: what it gave, N rows.
            tensors: by input name, N rows each.
            seconds: in onnxruntime.
            lasts: whether the tensors stay as they are when this has returned.
        """
        rows = len(run.outputs)
        is_kept = lasts and sum(tensor.nbytes for tensor in tensors.values()) <= _KEPT_BYTES
        places = None if is_kept else self._places_of(tensors)
        with self._lock:
            self._waiting.append(_Ran(run, tensors if places is None else None, places, seconds))
            self._waiting_values += rows * (1 if self._is_top else self._label_count)

    @property
    def is_due(self) -> bool:
        """Whether enough wait for `settle`."""
        return len(self._waiting) >= _RUNS_TOGETHER or self._waiting_values >= _VALUES_TOGETHER

    def settle(self) -> None:
        """Count the runs that wait for it, and the requests' own waits."""
        with self._lock:
            waiting, self._waiting, self._waiting_values = self._waiting, [], 0
        waits, self._waits = self._waits, []
        for wait in waits:
            observe(self._queue_wait, _LATENCY, wait)
        if waiting:
            self._count_runs(waiting)

    def _places_of(self, tensors: Any) -> Places:
        return [bins.place(tensors[name]) for name, bins in self._inputs]

    def _count_runs(self, waiting: Sequence[_Ran]) -> None:
        for one in waiting:
            self.run_seconds += one.seconds
            observe(self._inference, _INFERENCE, one.seconds)
            observe(self._rows, _ROWS, len(one.run.outputs))
        places = [self._places_of(one.given) if one.places is None else one.places for one in waiting]
        if len(waiting) == 1:
            self._count_run(waiting[0].run, places[0])
        else:
            self._count_run(
                _joined([one.run for one in waiting]), [np.concatenate(parts) for parts in zip(*places, strict=True)]
            )

    def _count_run(self, run: Run, places: Places) -> None:
        outputs, novelty = run.outputs, run.outputs.novelty
        self._count_remarks(run.remarks)
        if novelty is not None:
            self._remarks[_PLACES[metric.NOVEL]] += np.count_nonzero(novelty.astype(np.float64) > self._novel_above)
        if not run.is_finite:
            is_finite = outputs.finite_rows
            self._remarks[_PLACES[metric.NON_FINITE]] += np.count_nonzero(~is_finite)
            outputs, places = outputs.of(is_finite), [one[is_finite] for one in places]
        if len(outputs):
            self._count(outputs, places)

    def _count(self, outputs: Any, places: Places) -> None:
        """Rows whose outputs are finite."""
        window = self._window()
        if self._is_top:
            self._count_best(outputs.top_indices[:, 0], outputs.highest, window)
        else:
            self._count_all(outputs.probabilities, window)
        for found, block in zip(places, window.inputs, strict=True):
            np.add(block, np.bincount(found, minlength=len(block)), block)

    def _count_all(self, probabilities: npt.NDArray[np.float32], window: _Window) -> None:
        entropy = (probabilities * np.log(np.maximum(probabilities, _LEAST))) @ self._entropy_weights
        np.add(self._entropy, np.bincount(_ENTROPY.searchsorted(entropy), minlength=len(_ENTROPY) + 1), self._entropy)
        self._sums[1][-1] += float(entropy.sum(dtype=np.float64))
        self._count_best(probabilities.argmax(axis=1), probabilities.max(axis=1), window)

    def _count_best(self, best: Any, top: Any, window: _Window) -> None:
        """The most probable classes, integers [N], and their probabilities, float32 [N].

        Of a graph that gives only the most probable classes it is all there is to count: its entropy is not known.
        """
        labels = np.bincount(self._places[best], minlength=layout.LABELS + 1)
        confidence = np.bincount(_CONFIDENCE.searchsorted(top), minlength=len(_CONFIDENCE) + 1)
        np.add(self._labels, labels, self._labels)
        np.add(self._confidence, confidence, self._confidence)
        self._sums[0][-1] += float(top.sum(dtype=np.float64))
        np.add(window.labels, labels, window.labels)
        np.add(window.confidence, confidence[:-1], window.confidence)
        self._remarks[_PLACES[metric.SATURATED]] += np.count_nonzero(top > np.float64(_SATURATED))
        if self._threshold:
            self._remarks[_PLACES[metric.ABSTAINED]] += np.count_nonzero(top < np.float64(self._threshold))

    def _window(self) -> _Window:
        """The present one, emptied where what lies there is of the one before last."""
        number = window_number(self._window_seconds)
        window = self._windows[number % 2]
        if window.whole[0] != number:
            window.whole[:] = 0.0
            window.whole[0] = number
        return window

    def _count_remarks(self, remarks: Any) -> None:
        """Rows, also where a remark is about several of a row's inputs."""
        found: dict[str, Flags] = {}
        for (member, _), flags in remarks.items():
            if member not in _MEMBERS:  # counts, of a history
                continue
            found[member] = flags if member not in found else found[member] | flags
        for member, flags in found.items():
            self._remarks[_MEMBERS[member]] += np.count_nonzero(flags)


class _Joined(NamedTuple):
    """Several runs as if they had been one."""

    outputs: Any
    remarks: Mapping[Any, Flags]
    is_finite: bool


def _joined(runs: Sequence[Run]) -> Run:
    outputs = runs[0].outputs.joined([run.outputs for run in runs])
    remarks = {key: np.concatenate([run.remarks[key] for run in runs]) for key in runs[0].remarks}
    return _Joined(outputs, remarks, all(run.is_finite for run in runs))


def window_number(seconds: float) -> int:
    """Of the window of time that it is now; all processes agree on it."""
    return int(time.time() / seconds)


def observe(block: Any, bounds: Sequence[float], value: float) -> None:
    """Count a value in a histogram's block: see `layout`."""
    block[bisect_left(bounds, value)] += 1.0
    block[-1] += value


def _novel_above(manifest: Manifest) -> float:
    """The score above which a row's p-value is at most 0.01; with fewer than 99 calibration rows none is."""
    if manifest.novelty is None:
        return math.inf
    values, steps = manifest.novelty.steps
    few = int(np.count_nonzero(steps > _NOVEL))
    return math.inf if few == len(steps) else float(values[few - 1])


def _threshold(manifest: Manifest) -> float:
    """Below which top probability a row would be left unanswered: none where the version says nothing of it."""
    if manifest.abstention is None:
        return 0.0
    threshold = manifest.abstention.threshold
    return math.inf if threshold is None else threshold


_PLACES: Mapping[metric.Metric, int] = {one: place for place, one in enumerate(layout.REMARKS)}
_MEMBERS = {
    "out_of_range": _PLACES[metric.OUT_OF_RANGE],
    "unknown": _PLACES[metric.UNKNOWN],
    "truncated": _PLACES[metric.TRUNCATED],
}
