"""The configuration's `[data]` section → a split data set."""

from __future__ import annotations

from clipmax.refusal import Refusal
from training.config import EventSource, FolderSource, IdxSource, Source, TableSource, Texts
from training.data import folders, images, tables
from training.data.dataset import Dataset


def read(source: Source, *, text_length: int = Texts().max_length) -> Dataset:
    """Read, check and split.

    Args:
        source: the `[data]` section.
        text_length: code points of a text that the graph will read.

    Raises:
        Refusal: with file, field, expected and found.
    """
    if isinstance(source, IdxSource):
        return images.read_idx(source)
    if isinstance(source, TableSource):
        return tables.read(source, text_length=text_length)
    if isinstance(source, FolderSource):
        return folders.read(source)
    if isinstance(source, EventSource):
        expected = "rows with one label each; purchases are for train, baselines, evaluate and compare"
        raise Refusal(source.file, "data.source", expected=expected, found="'events'")
    return images.read_npz(source)
