"""The pages of all processes → one sum for each count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from clipmax.manifest import Manifest
from service.telemetry import drift, layout
from service.telemetry.meter import Floats, Labels, window_number

_SEAL_DIGITS = 12
"""Hexadecimal digits of a seal that a float holds exactly."""


class Key(NamedTuple):
    """What a cell is about: a version, and the seal of its manifest, because a folder can be overwritten."""

    name: str
    number: int
    seal: int

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        return cls(manifest.name, manifest.version, int(manifest.seal.sha256[:_SEAL_DIGITS], 16))

    @classmethod
    def read(cls, cell: Floats) -> Self:
        view = layout.VERSION.view
        name = view(cell, "name").tobytes().rstrip(b"\0").decode("ascii", "replace")
        return cls(name, int(view(cell, "number")[0]), int(view(cell, "seal")[0]))

    def write(self, cell: Floats) -> None:
        view = layout.VERSION.view
        view(cell, "name")[:] = np.frombuffer(self.name.encode().ljust(layout.NAME_BYTES, b"\0"), np.float64)
        view(cell, "number")[0], view(cell, "seal")[0] = self.number, self.seal

    def is_like(self, other: Key) -> bool:
        """Whether it is the same version, whatever lay in its folder."""
        return (self.name, self.number) == (other.name, other.number)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the words of a version say of its counts.

    Attributes:
        labels: those that are counted one by one, in order of their places.
        has_rest: whether there are more.
        expected: name of a drift → its place in a window, and the reference's shares.
        reference_rows: of the reference; 0: there is none.
    """

    key: Key
    labels: tuple[str, ...]
    has_rest: bool
    expected: dict[str, tuple[int, Floats]]
    reference_rows: int

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        labels = Labels(manifest)
        shown = tuple(manifest.labels[index] for index in labels.shown)
        reference = manifest.reference
        return cls(
            Key.of(manifest),
            shown,
            len(shown) < len(manifest.labels),
            _expected(manifest, labels.places),
            0 if reference is None else reference.rows,
        )


def _expected(manifest: Manifest, places: npt.NDArray[np.intp]) -> dict[str, tuple[int, Floats]]:
    reference = manifest.reference
    if reference is None:
        return {}
    found: dict[str, tuple[int, Floats]] = {}
    if len(reference.predicted) == len(places):
        predicted = np.bincount(places, weights=reference.predicted, minlength=layout.LABELS + 1).astype(np.float64)
        found["predicted"] = (0, predicted)
    start = layout.LABELS + 1
    found["confidence"] = (start, np.array(reference.top_probability))
    start += len(reference.top_probability)
    for name, bins in drift.inputs_of(manifest.inputs, reference).items():
        found[f"input:{name}"] = (start, bins.shares)
        start += layout.INPUT_BINS
    return found


@dataclass(frozen=True, slots=True)
class Words:
    """What was counted by the words of one manifest: rows of each label, and the windows that are not over."""

    labels: Floats
    window: Floats


@dataclass(frozen=True, slots=True)
class Taken:
    """All counts at one moment.

    Attributes:
        worker: the sum of all workers' own cells; gauges too, but for the busy ratio, which is a mean.
        versions: by name and number the sum of each version's cells.
        words: what only a version's own manifest can say.
        rest: of versions without a cell.
    """

    worker: Floats
    versions: dict[tuple[str, int], Floats]
    words: dict[Key, Words]
    rest: Floats


class Sums:
    """Adds up pages: float64 [pages, layout.CELLS, layout.CELL]."""

    def __init__(self, pages: Floats, window_seconds: float) -> None:
        self._pages = pages
        self._window_seconds = window_seconds

    def take(self) -> Taken:
        taken = Taken(self._worker(), {}, {}, self._pages[:, layout.CELLS - 1].sum(axis=0))
        for page in self._pages:
            used = int(layout.WORKER.view(page[0], "cells")[0])
            for cell in page[1 : 1 + used]:
                self._add(taken, cell)
        return taken

    def _add(self, taken: Taken, cell: Floats) -> None:
        key = Key.read(cell)
        taken.versions.setdefault(key[:2], np.zeros(layout.CELL))[:] += cell
        words = taken.words.setdefault(key, Words(np.zeros(layout.LABELS + 1), np.zeros(layout.WINDOW)))
        words.labels[:] += layout.VERSION.view(cell, "labels")
        words.window[:] += self._window(cell)

    def _worker(self) -> Floats:
        total: Floats = self._pages[:, 0].sum(axis=0)
        gauges = layout.WORKER.view(total, "gauges")
        gauges[layout.BUSY_PLACE] /= max(1.0, gauges[layout.WORKERS_PLACE])
        return total

    def _window(self, cell: Floats) -> Floats:
        """The present window and the one before."""
        windows = layout.VERSION.view(cell, "windows")
        is_young = windows[:, 0] >= window_number(self._window_seconds) - 1
        found: Floats = windows[is_young, 1:].sum(axis=0)
        return found
