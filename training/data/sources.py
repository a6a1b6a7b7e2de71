"""The configuration's `[data]` section → a split data set."""

from __future__ import annotations

from training.config import IdxSource, Source
from training.data import images
from training.data.dataset import Dataset


def read(source: Source) -> Dataset:
    """Read, check and split.

    Raises:
        Refusal: with file, field, expected and found.
    """
    if isinstance(source, IdxSource):
        return images.read_idx(source)
    return images.read_npz(source)
