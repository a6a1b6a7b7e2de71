"""What one version does in one process → its counts in the ledger."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from clipmax.manifest import Manifest
from service.telemetry import drift, layout, metric

_SATURATED, _NOVEL = 0.999, 0.01
_LATENCY, _INFERENCE, _ROWS = metric.LATENCY_SECONDS, metric.INFERENCE_SECONDS, metric.BATCH_ROWS
_STATUS_COUNT = len(layout.STATUSES) + 1
_CLASS_COUNT, _WIDTH = len(layout.CLASSES), len(_LATENCY) + 2
_OK = 200
_OK_PLACES = layout.status_place(_OK), layout.class_place(_OK)
_CONFIDENCE_LIST, _ENTROPY_LIST = metric.CONFIDENCE.buckets, metric.ENTROPY.buckets
_CONFIDENCE, _ENTROPY = np.array(_CONFIDENCE_LIST, dtype=np.float32), np.array(_ENTROPY_LIST, dtype=np.float32)
_LABELS_END = 1 + layout.LABELS + 1
_CONFIDENCE_END = _LABELS_END + len(_CONFIDENCE)
"""Of a window, whose first float is its number."""

_PAGE = 4096
_FEW_ROWS, _FEW_LABELS = 6, 64
_LEAST = float(np.finfo(np.float32).tiny)

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Run(Protocol):
    """One run, as whoever made it knows it: `service.answer.Results`."""

    is_finite: bool

    @property
    def outputs(self) -> Any:
        """`service.engine.outputs`: of every class, or of the most probable ones; `novelty`, float32 [N] or None."""

    @property
    def remarks(self) -> Any:
        """(member, input) → bool [N]."""


class Ran(NamedTuple):
    """A run that has ended, its tensors by input name, and the seconds in onnxruntime."""

    run: Run
    tensors: Any
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

    A run is counted as a whole, by a handful of numpy calls, so that a row costs less the busier the service is.

    Args:
        cell: the session's part of the process's page, float64 [layout.CELL].
        manifest: of the session.
        window_seconds: length of a window of the drift.
    """

    def __init__(self, cell: Floats, manifest: Manifest, window_seconds: float) -> None:
        def block(name: str) -> Any:
            return layout.VERSION.view(cell, name)

        self._numbers = layout.scalars(cell)
        self._lock = Lock()  # the cell for versions without one of their own has several writers
        self._requests, self._latency = layout.VERSION.offsets["requests"], layout.VERSION.offsets["latency"]
        self._queue_wait, self._inference = layout.scalars(block("queue_wait")), layout.scalars(block("inference"))
        self._rows = layout.scalars(block("rows"))
        self._labels, self._confidence, self._entropy = block("labels"), block("confidence")[:-1], block("entropy")[:-1]
        self._sums = layout.scalars(block("confidence")), layout.scalars(block("entropy"))
        self._remarks = layout.scalars(block("remarks"))
        self._window_seconds = window_seconds
        self._places = Labels(manifest).places
        self._is_top, self._label_count = manifest.is_top, manifest.classes
        self._place_list: list[int] = self._places.tolist() if self._label_count <= _FEW_LABELS else []
        self._highest_entropy = float(np.log(self._label_count))
        self._threshold = _threshold(manifest)
        self._novel_above = _novel_above(manifest)
        reference = manifest.reference
        self._inputs = () if reference is None else tuple(drift.inputs_of(manifest.inputs, reference).items())
        self._windows = [_Window.of(one, [len(bins.shares) for _, bins in self._inputs]) for one in block("windows")]
        self._rows_from_0 = np.arange(_PAGE)
        weights = 0 if self._is_top else self._label_count
        self._entropy_weights = np.full(weights, -1 / self._highest_entropy, dtype=np.float32)
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
        for wait in waits:
            observe(self._queue_wait, _LATENCY, wait)

    def ran(self, run: Run, tensors: Any, seconds: float) -> None:
        """A run has ended.

        Args:
            run: what it gave, N rows.
            tensors: by input name, N rows each.
            seconds: in onnxruntime.
        """
        self.ran_several([Ran(run, tensors, seconds)])

    def ran_several(self, runs: Sequence[Ran]) -> None:
        """The same of runs, at least one, whose inputs have rows of the same shape: nearly for the price of one."""
        whole = runs[0] if len(runs) == 1 else _joined(runs)
        with self._lock:
            for one in runs:
                self.run_seconds += one.seconds
                observe(self._inference, _INFERENCE, one.seconds)
                observe(self._rows, _ROWS, len(one.run.outputs))
            self._count_run(whole.run, whole.tensors)

    def _count_run(self, run: Run, tensors: Any) -> None:
        outputs, novelty = run.outputs, run.outputs.novelty
        self._count_remarks(run.remarks)
        if novelty is not None:
            self._remarks[_PLACES[metric.NOVEL]] += np.count_nonzero(novelty.astype(np.float64) > self._novel_above)
        is_finite = None
        if not run.is_finite:
            is_finite = outputs.finite_rows
            self._remarks[_PLACES[metric.NON_FINITE]] += np.count_nonzero(~is_finite)
            outputs = outputs.of(is_finite)
        if len(outputs):
            self._count(outputs, tensors, is_finite)

    def _count(self, outputs: Any, tensors: Any, is_kept: Flags | None) -> None:
        """Rows whose outputs are finite; `is_kept` says which of the run's rows they are where it is not all."""
        window = self._window()
        is_small = not self._is_top and len(outputs) <= _FEW_ROWS and self._label_count <= _FEW_LABELS
        if self._is_top:
            self._count_best(outputs.top_indices[:, 0], outputs.highest, window)
        elif is_small:
            self._count_few(outputs.probabilities, window)
        else:
            self._count_many(outputs.probabilities, window)
        for (name, bins), block in zip(self._inputs, window.inputs, strict=True):
            places = bins.place(tensors[name] if is_kept is None else tensors[name][is_kept])
            if is_small:
                for place in places.tolist():
                    block[place] += 1.0
            else:
                np.add(block, np.bincount(places, minlength=len(block)), block)

    def _count_many(self, probabilities: npt.NDArray[np.float32], window: _Window) -> None:
        """In numpy, whose calls cost up to two microseconds each and little more for each row."""
        best = probabilities.argmax(axis=1)
        top = probabilities[self._rows_from_0[: len(best)], best] if len(best) <= _PAGE else probabilities.max(axis=1)
        entropy = (probabilities * np.log(np.maximum(probabilities, _LEAST))) @ self._entropy_weights
        np.add(self._entropy, np.bincount(_ENTROPY.searchsorted(entropy), minlength=len(_ENTROPY) + 1), self._entropy)
        self._sums[1][-1] += sum(entropy.tolist())
        self._count_best(best, top, window)

    def _count_best(self, best: Any, top: Any, window: _Window) -> None:
        """The most probable classes, integers [N], and their probabilities, float32 [N].

        Of a graph that gives only the most probable classes it is all there is to count: its entropy is not known.
        """
        shares = top.tolist()
        labels = np.bincount(self._places[best], minlength=layout.LABELS + 1)
        confidence = np.bincount(_CONFIDENCE.searchsorted(top), minlength=len(_CONFIDENCE) + 1)
        np.add(self._labels, labels, self._labels)
        np.add(self._confidence, confidence, self._confidence)
        self._sums[0][-1] += sum(shares)
        np.add(window.labels, labels, window.labels)
        np.add(window.confidence, confidence[:-1], window.confidence)
        self._remarks[_SATURATED_PLACE] += sum([share > _SATURATED for share in shares])
        if self._threshold:
            self._remarks[_ABSTAINED_PLACE] += sum([share < self._threshold for share in shares])

    def _count_few(self, probabilities: npt.NDArray[np.float32], window: _Window) -> None:
        """The same in plain Python, which is faster for a few rows."""
        for row in probabilities.tolist():
            top = max(row)
            label = self._place_list[row.index(top)]
            entropy = -sum([share * math.log(share) for share in row if share > 0.0]) / self._highest_entropy
            self._labels[label] += 1.0
            observe(self._sums[0], _CONFIDENCE_LIST, top)
            observe(self._sums[1], _ENTROPY_LIST, entropy)
            self._remarks[_SATURATED_PLACE] += top > _SATURATED
            self._remarks[_ABSTAINED_PLACE] += top < self._threshold
            window.labels[label] += 1.0
            if top <= 1.0:
                window.confidence[bisect_left(_CONFIDENCE_LIST, top)] += 1.0

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
            found[member] = flags if member not in found else found[member] | flags
        for member, flags in found.items():
            self._remarks[_MEMBERS[member]] += np.count_nonzero(flags)


def _joined(runs: Sequence[Ran]) -> Ran:
    """Runs as if they had been one."""
    first = runs[0]
    outputs = [one.run.outputs for one in runs]
    run: Any = SimpleNamespace(
        is_finite=all(one.run.is_finite for one in runs),
        outputs=outputs[0].joined(outputs),
        remarks={key: np.concatenate([one.run.remarks[key] for one in runs]) for key in first.run.remarks},
    )
    tensors = {name: np.concatenate([one.tensors[name] for one in runs]) for name in first.tensors}
    return Ran(run, tensors, sum(one.seconds for one in runs))


class Unmetered:
    """In place of a meter where nothing is counted."""

    def waited(self, waits: Iterable[float]) -> None:
        pass

    def ran(self, run: Run, tensors: Any, seconds: float) -> None:
        pass

    def ran_several(self, runs: Sequence[Ran]) -> None:
        pass


UNMETERED = Unmetered()


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
_SATURATED_PLACE, _ABSTAINED_PLACE = _PLACES[metric.SATURATED], _PLACES[metric.ABSTAINED]
_MEMBERS = {
    "out_of_range": _PLACES[metric.OUT_OF_RANGE],
    "unknown": _PLACES[metric.UNKNOWN],
    "truncated": _PLACES[metric.TRUNCATED],
}
