"""A model whose last layer stands apart and rows → exact figures over all classes, in chunks of bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clipmax.head import Ranked
from clipmax.manifest import Metrics
from training import calibration, metrics
from training.data.dataset import Dataset, Split
from training.features import columns
from training.heads.head import Head
from training.model import Classifier

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_ROWS = 256
_CLASSES = 16_384
"""256 rows of so many logits are 16 MB; a few such arrays are alive at once."""

_LOOK_LOGITS = 1_000_000_000
"""A look between epochs, or a fit of the temperature, takes fewer rows where the classes would make it more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What all classes' probabilities say of each of N rows; float64 or int64 [N]."""

    labels: Integers
    rank: Integers
    """How many classes rank before the true one; of equal logits the first class does."""
    predicted: Integers
    top: Floats
    """The highest probability, after the temperature."""
    top_uncalibrated: Floats
    log_loss: Floats
    """Negative log likelihood in nats, after the temperature."""
    log_loss_uncalibrated: Floats
    brier: Floats

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> Floats:
        """1.0 where the true class is the most probable one."""
        return np.asarray(self.rank == 0, dtype=np.float64)


def judge(model: Classifier, dataset: Dataset, split: Split, temperature: float = 1.0) -> Judged:
    """Every class of every row. Its cost is that of rows · classes · width, its memory that of a chunk of both.

    Args:
        model: with a last layer that stands apart; is left in evaluation mode.
        dataset: whose inputs the rows have.
        split: the rows.
        temperature: T of softmax(logits / T).
    """
    found = [_judge(head, hidden, labels, temperature) for head, hidden, labels in _hidden(model, dataset, split)]
    names = [field.name for field in fields(Judged)]
    return Judged(**{name: np.concatenate([getattr(part, name) for part in found]) for name in names})


def look_rows(rows: int, classes: int) -> Integers:
    """The row numbers of a look between epochs: all, or evenly spaced ones where that would be 10⁹ logits."""
    kept = max(1, min(rows, _LOOK_LOGITS // classes))
    return np.arange(kept, dtype=np.int64) * rows // kept


def fit_temperature(model: Classifier, dataset: Dataset, held_out: Split) -> float:
    """The temperature over all classes, on rows not trained on; of 10⁹ logits and more on part of them."""
    held_out = held_out.take(look_rows(len(held_out), len(dataset.labels)))
    chunks = list(_hidden(model, dataset, held_out))

    def derivatives(beta: float) -> tuple[float, float]:
        slopes, curvatures = zip(
            *(_derivatives(head, hidden, labels, beta) for head, hidden, labels in chunks), strict=True
        )
        return sum(slopes) / len(held_out), sum(curvatures) / len(held_out)

    return calibration.fit_from_derivatives(derivatives, len(held_out))


def figures(judged: Judged) -> Metrics:
    """The figures of a manifest."""
    classes = int(max(judged.labels.max(), judged.predicted.max())) + 1
    return Metrics(
        rows=len(judged),
        accuracy=float(judged.correct.mean()),
        macro_f1=metrics.macro_f1_of(judged.predicted, judged.labels, classes),
        log_loss=float(judged.log_loss.mean()),
        brier=float(judged.brier.mean()),
        ece=metrics.ece_of_top(judged.top, judged.correct),
        ece_uncalibrated=metrics.ece_of_top(judged.top_uncalibrated, judged.correct),
        log_loss_uncalibrated=float(judged.log_loss_uncalibrated.mean()),
        ece_bins=metrics.BINS,
    )


def ranked(judged: Judged, train_labels: Integers, classes: int) -> Ranked:
    """How far up the true class stands, and how frequent and rare classes fare apart.

    Args:
        judged: rows of the test split.
        train_labels: int64, of the training split, which says how frequent a class is.
        classes: K.
    """
    is_frequent = _most_frequent(np.bincount(train_labels, minlength=classes))
    of_head = is_frequent[judged.labels]
    return Ranked(
        top_5=float((judged.rank < 5).mean()),
        recall_at_20=float((judged.rank < 20).mean()),
        head_accuracy=_mean(judged.correct[of_head]),
        tail_accuracy=_mean(judged.correct[~of_head]),
        head_classes=int(is_frequent.sum()),
    )


def _most_frequent(counts: Integers) -> npt.NDArray[np.bool_]:
    """Bool [K]: the fewest classes that together hold half of the rows."""
    order = np.argsort(-counts, kind="stable")
    kept = int(np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2)) + 1
    is_frequent = np.zeros(len(counts), dtype=bool)
    is_frequent[order[:kept]] = True
    return is_frequent


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def _hidden(model: Classifier, dataset: Dataset, split: Split) -> Iterator[tuple[Head, Tensor, Tensor]]:
    """(the last layer, hidden float32 [n, H], labels int64 [n]) of a few rows at a time."""
    assert model.head is not None  # noqa: S101  # callers know
    model.eval()
    with torch.no_grad():
        for start in range(0, len(split), _ROWS):
            rows = slice(start, start + _ROWS)
            hidden = model.hidden(*columns.batch(dataset.inputs, split, rows))
            yield model.head, hidden, torch.from_numpy(split.labels[rows])


@torch.no_grad()
def _judge(head: Head, hidden: Tensor, labels: Tensor, temperature: float) -> Judged:
    beta, rows = 1.0 / temperature, len(labels)
    true = head.true_logits(hidden, labels)
    plain, scaled, doubled = (torch.full((rows,), -math.inf, dtype=torch.float64) for _ in range(3))
    rank, predicted = torch.zeros(rows, dtype=torch.int64), torch.zeros(rows, dtype=torch.int64)
    highest = torch.full((rows,), -math.inf)
    for part, logits in _chunks(head, hidden, labels, true):
        plain = torch.logaddexp(plain, torch.logsumexp(logits, dim=1).double())
        scaled = torch.logaddexp(scaled, torch.logsumexp(logits * beta, dim=1).double())
        doubled = torch.logaddexp(doubled, torch.logsumexp(logits * (2.0 * beta), dim=1).double())
        rank += _before(logits, true, labels - part.start)
        values, places = logits.max(dim=1)
        predicted = torch.where(values > highest, places + part.start, predicted)
        highest = torch.maximum(highest, values)
    true64, highest64 = true.double(), highest.double()
    probability = (true64 * beta - scaled).exp()
    return Judged(
        labels=labels.numpy(),
        rank=rank.numpy(),
        predicted=predicted.numpy(),
        top=(highest64 * beta - scaled).exp().clamp(max=1.0).numpy(),
        top_uncalibrated=(highest64 - plain).exp().clamp(max=1.0).numpy(),
        log_loss=(scaled - true64 * beta).clamp(min=0.0).numpy(),
        log_loss_uncalibrated=(plain - true64).clamp(min=0.0).numpy(),
        brier=((doubled - 2.0 * scaled).exp() - 2.0 * probability + 1.0).clamp(min=0.0).numpy(),
    )


def _chunks(head: Head, hidden: Tensor, labels: Tensor, true: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """(classes, their logits), each row's own class with exactly its value in `true`, however a product rounds it."""
    for part, logits in head.chunks(hidden, _CLASSES):
        own = labels - part.start
        rows = ((own >= 0) & (own < logits.shape[1])).nonzero().squeeze(1)
        logits[rows, own[rows]] = true[rows]
        yield part, logits


def _before(logits: Tensor, true: Tensor, own: Tensor) -> Tensor:
    """int64 [n]: classes of a chunk that rank before the true one, `own` its place counted from the chunk's start."""
    higher = (logits > true.unsqueeze(1)).sum(dim=1)
    equal = logits == true.unsqueeze(1)
    return higher + (equal & (torch.arange(logits.shape[1]) < own.unsqueeze(1))).sum(dim=1)


@torch.no_grad()
def _derivatives(head: Head, hidden: Tensor, labels: Tensor, beta: float) -> tuple[float, float]:
    """Sums over the rows of the mean and of the variance of a logit less the true one under softmax(beta · logits)."""
    true = head.true_logits(hidden, labels)
    maximum = torch.full_like(true, -math.inf)
    total, first, second = (torch.zeros(len(labels), dtype=torch.float64) for _ in range(3))
    for _, logits in _chunks(head, hidden, labels, true):
        gaps = logits.sub_(true.unsqueeze(1))
        risen = torch.maximum(maximum, gaps.amax(dim=1))
        kept = ((maximum - risen) * beta).exp().double()
        weights = ((gaps - risen.unsqueeze(1)) * beta).exp()
        total = total * kept + weights.sum(dim=1)
        weights *= gaps
        first = first * kept + weights.sum(dim=1)
        weights *= gaps
        second = second * kept + weights.sum(dim=1)
        maximum = risen
    means = first / total
    return float(means.sum()), float((second / total - means.square()).clamp(min=0.0).sum())
