"""A trained model of many classes and its data → exact figures, and what its last layer can answer at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from clipmax.head import Head as HeadRecord
from clipmax.manifest import Metrics
from training import diagnostics
from training.data.dataset import Dataset
from training.features import columns
from training.heads import reachability
from training.many import judging
from training.many.judging import Judged
from training.many.top import Top

_RANK_CLASSES = 2048
_RANK_ROWS = 512
_CHUNK = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredTop:
    """What the model reached.

    Args:
        validation: the rows that chose the epoch, judged.
        test: the test split, judged.
        metrics: of `test`.
        head: for the manifest.
    """

    validation: Judged
    test: Judged
    metrics: Metrics
    head: HeadRecord


def measure(model: Top, dataset: Dataset) -> MeasuredTop:
    """Judge all classes on validation and test, and look at rank and reachability."""
    classifier, temperature = model.classifier, float(model.temperature)
    validation, test = (
        judging.judge(classifier, dataset, split, temperature) for split in (dataset.selection, dataset.test)
    )
    return MeasuredTop(
        validation=validation,
        test=test,
        metrics=judging.figures(test),
        head=_head(model, dataset, test),
    )


def _head(model: Top, dataset: Dataset, test: Judged) -> HeadRecord:
    head = model.classifier.head
    assert head is not None  # noqa: S101  # a graph of this form has one
    rank, rank_limit = diagnostics.logit_rank(_logits(model, dataset), head.rank_width)
    vectors = head.vectors()
    return HeadRecord(
        name=head.name,
        rank=rank,
        rank_limit=rank_limit,
        width=head.width,
        unreachable=reachability.sample(*(one.numpy() for one in vectors)) if vectors else None,
        ranked=judging.ranked(test, dataset.train.labels, len(dataset.labels)),
    )


@torch.no_grad()
def _logits(model: Top, dataset: Dataset) -> torch.Tensor:
    """A sample of them: float32, of at most 512 training rows and 2,048 classes, evenly spaced."""
    head = model.classifier.head
    assert head is not None  # noqa: S101  # a graph of this form has one
    rows = _evenly(len(dataset.train), _RANK_ROWS)
    classes = torch.from_numpy(_evenly(head.classes, _RANK_CLASSES))
    hidden = model.classifier.hidden(*columns.batch(dataset.inputs, dataset.train, rows))
    found = [
        logits[:, classes[(part.start <= classes) & (classes < part.stop)] - part.start]
        for part, logits in head.chunks(hidden, _CHUNK)
    ]
    return torch.cat(found, dim=1)


def _evenly(count: int, at_most: int) -> np.ndarray:
    kept = min(count, at_most)
    return np.arange(kept, dtype=np.int64) * count // kept
