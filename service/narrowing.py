"""Candidates and histories of a request → the labels that each of its rows may be answered with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from clipmax.history import FIRST_ITEM_CODE
from clipmax.inputs import HistoryInput, Tensor
from clipmax.manifest import Manifest
from clipmax.problems import Problem

Flags = npt.NDArray[np.bool_]


class Narrowing:
    """Of one version: which labels it has by name, and which of them its histories' items are."""

    def __init__(self, manifest: Manifest) -> None:
        self._labels = len(manifest.labels)
        self._manifest = manifest

    @cached_property
    def _places(self) -> Mapping[str, int]:
        """Made when first asked for: most models never are."""
        return {label: place for place, label in enumerate(self._manifest.labels)}

    @cached_property
    def _items(self) -> Mapping[str, npt.NDArray[np.int64]]:
        """Input → of each of its items the label of the same name, or -1."""
        return {
            one.name: np.array([self._places.get(item, -1) for item in one.items], dtype=np.int64)
            for one in self._manifest.inputs
            if isinstance(one, HistoryInput)
        }

    def kept(self, candidates: Sequence[str] | None, tensors: Mapping[str, Tensor], *, exclude_seen: bool) -> Flags:
        """Which labels each row may be answered with: bool [N, K].

        Args:
            candidates: only these labels; None: all.
            tensors: by input name, N rows each.
            exclude_seen: without those that are items of the row's history.

        Raises:
            Problem: PARAMETER for a candidate that is no label, for a version without histories, or where no label is
                left of a row.
        """
        rows = len(next(iter(tensors.values())))
        found = np.repeat(self._candidates(candidates)[None], rows, axis=0)
        if exclude_seen:
            self._hide_seen(found, tensors)
        empty = ~found.any(axis=1)
        if empty.any():
            row = int(empty.argmax())
            detail = f"of row {row} no label is left: its history has all that were asked for; ask without exclude_seen"
            raise Problem("PARAMETER", detail, pointer=f"/instances/{row}")
        return found

    def _candidates(self, candidates: Sequence[str] | None) -> Flags:
        if candidates is None:
            return np.ones(self._labels, dtype=np.bool_)
        found = np.zeros(self._labels, dtype=np.bool_)
        for index, label in enumerate(candidates):
            place = self._places.get(label)
            if place is None:
                detail = "no label of this version; they are in its metadata"
                raise Problem("PARAMETER", detail, pointer=f"/parameters/candidates/{index}")
            found[place] = True
        return found

    def _hide_seen(self, found: Flags, tensors: Mapping[str, Tensor]) -> None:
        if not self._items:
            raise Problem("PARAMETER", "this version reads no histories", pointer="/parameters/exclude_seen")
        for name, places in self._items.items():
            items = tensors[name][:, :, 0].astype(np.int64) - FIRST_ITEM_CODE
            rows, columns = np.nonzero(items >= 0)
            labels = places[items[rows, columns]]
            found[rows[labels >= 0], labels[labels >= 0]] = False
