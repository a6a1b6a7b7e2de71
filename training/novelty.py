"""A trained classifier and its training rows → a score of how unlike them an input is, part of the exported graph.

Scores are fitted on the training split after training; what stands of them in the graph are prototypes and weights.
The values of calibration rows, by the exported graph, go into the manifest: see `clipmax.novelty`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clipmax.conformal import kept_ranks
from clipmax.novelty import Novelty
from clipmax.refusal import Refusal
from training import config
from training.data.dataset import Dataset, Split
from training.features import columns
from training.features.text.bags import Bags
from training.features.text.encoder import TextEncoder
from training.model import Calibrated, Classifier, Members, Mlp, Shortcut
from training.prototypes import normalized, prototypes

OFF = "none"
"""Instead of a score's name: the graph has no novelty output."""

_ROWS_A_CLASS, _ROWS = 500, 20_000
_CHUNK_ROWS, _CHUNK_TEXTS = 1024, 64
_SMALLEST_SPREAD = 1e-3
_UNSEEN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class View:
    """What a score may look at, N rows each.

    Args:
        features: float32 [N, width], of all encoders.
        hidden: float32 [N, width], the last hidden layer; the features where there is none.
        probabilities: float32 [N, K], calibrated.
        unseen: float32 [N], share of a row's n-grams that no training text has; 0 where no text is read.
    """

    features: Tensor
    hidden: Tensor
    probabilities: Tensor
    unseen: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a score is fitted on.

    Args:
        train: rows of the training split, not all where there are many.
        labels: int64 [N], of these rows.
        held_out: of validation, not trained on: the spread of a score on training rows would be too small.
        reads_text: whether any input is a text.
    """

    train: View
    labels: Tensor
    held_out: View
    reads_text: bool


class Score(nn.Module):
    """Shape: a `View` of N rows → float32 [N], finite, at least 0; higher is less like the training rows."""

    def forward(self, view: View) -> Tensor:
        raise NotImplementedError


Fit = Callable[[Sample], Score]


class Improbable(Score):
    """1 - the largest calibrated probability (Hendrycks & Gimpel 2017): the yardstick that costs nothing."""

    def forward(self, view: View) -> Tensor:
        return 1.0 - view.probabilities.amax(dim=1)


class Unseen(Score):
    """The share of n-grams that no training text has: far domains, other languages, gibberish; not a near unknown."""

    def forward(self, view: View) -> Tensor:
        return view.unseen


class Far(Score):
    """Cosine distance, 0 to 2, to the nearest of some prototypes of the training rows.

    Args:
        directions: float32 [P, width], of length 1.
        layer: what the prototypes are of, the name of a member of `View`.
    """

    directions: Tensor

    def __init__(self, directions: Tensor, layer: str) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("directions", directions)

    def forward(self, view: View) -> Tensor:
        similarities = normalized(getattr(view, self.layer)) @ self.directions.T
        return (1.0 - similarities.amax(dim=1)).clamp(min=0.0)


class Together(Score):
    """The weighted mean of other scores; the weights, which sum to 1, make their spreads count as they should."""

    weights: Tensor

    def __init__(self, parts: Sequence[Score], weights: Tensor) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.register_buffer("weights", weights / weights.sum())

    def forward(self, view: View) -> Tensor:
        return torch.stack([part(view) for part in self.parts], dim=1) @ self.weights


def _together(sample: Sample) -> Score:
    """Probability and hidden layer; of texts `unseen` too, which counts half, because it hardly sees a near unknown."""
    names = {"probability": 1.0, "hidden": 1.0} | ({"unseen": _UNSEEN_SHARE} if sample.reads_text else {})
    parts = [SCORES[name](sample) for name in names]
    spreads = torch.stack([part(sample.held_out).std(correction=0) for part in parts])
    return Together(parts, torch.tensor(list(names.values())) / spreads.clamp(min=_SMALLEST_SPREAD))


SCORES: Mapping[str, Fit] = MappingProxyType(
    {
        "probability": lambda _: Improbable(),
        "hidden": lambda sample: Far(prototypes(sample.train.hidden, sample.labels), "hidden"),
        "features": lambda sample: Far(prototypes(sample.train.features, sample.labels), "features"),
        "unseen": lambda _: Unseen(),
        "together": _together,
    }
)
"""Name → what fits the score on a sample."""

NAMES = (*SCORES, OFF)


class Scored(Calibrated):
    """What is exported where there is a score: the same answers, and the score of each row.

    Shape:
        - Inputs: as `Calibrated`
        - Output: float32 [N, K], [N, K] and [N]: logits, probabilities, novelty
    """

    def __init__(self, calibrated: Calibrated, score: Score) -> None:
        super().__init__(calibrated.classifier, float(calibrated.temperature), calibrated.slope)
        self.score = score

    def forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        logits, probabilities = super().forward(*columns)
        return logits, probabilities, self.score(look(self.classifier, columns, probabilities))


def look(classifier: Classifier, columns: Sequence[Tensor | Bags], probabilities: Tensor) -> View:
    """What the encoders and the hidden layers make of these rows, and the probabilities already known."""
    features, unseen = [], torch.zeros_like(probabilities[:, 0])
    for encoder, places in zip(classifier.encoders, classifier.places, strict=True):
        taken = [columns[place] for place in places]
        found = encoder(*taken)
        if isinstance(encoder, TextEncoder):
            found = found[0]
            if isinstance(taken[0], Tensor):
                unseen = torch.maximum(unseen, encoder.unseen(taken[0]))
        features.append(found)
    joined = torch.cat(features, dim=1) if len(features) > 1 else features[0]
    return View(joined, _hidden(classifier.mlp, joined), probabilities, unseen)


def _hidden(module: nn.Module, features: Tensor) -> Tensor:
    """The last hidden layer of a perceptron; of several side by side, each with length 1, so that all count alike."""
    if isinstance(module, Members):
        return torch.cat([normalized(_hidden(member, features)) for member in module.members], dim=1)
    mlp = module.mlp if isinstance(module, Shortcut) else module
    assert isinstance(mlp, Mlp)  # noqa: S101  # there is nothing else
    for layer in list(mlp)[:-1]:
        features = layer(features)
    return features


def check(settings: config.Novelty, dataset: Dataset) -> None:
    """Refuse a score that this data has nothing for.

    Raises:
        Refusal: `unseen` without a text.
    """
    if settings.score == "unseen" and not _reads_text(dataset):
        raise Refusal("configuration", "novelty.score", expected="a text among the inputs for unseen", found="none")


def attached(model: Calibrated, dataset: Dataset, name: str) -> Calibrated:
    """A trained model with the score of this name fitted to it, or as it is where the name is `none`."""
    return model if name == OFF else Scored(model, SCORES[name](sample(model, dataset))).eval()


def sample(model: Calibrated, dataset: Dataset) -> Sample:
    """Training rows, every class alike up to a bound, and the half of validation that chooses."""
    chosen = dataset.train.take(_rows(dataset.train.labels, len(dataset.labels)))
    return Sample(
        train=views(model, dataset, chosen, prepared=True),
        labels=torch.from_numpy(chosen.labels),
        held_out=views(model, dataset, dataset.selection),
        reads_text=_reads_text(dataset),
    )


def _rows(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    """Evenly spaced rows of every class, ascending: at most 500 of each, and about 20,000 together."""
    most = max(1, min(_ROWS_A_CLASS, _ROWS // classes))
    found = []
    for label in range(classes):
        rows = np.flatnonzero(labels == label)
        found.append(rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))])
    return np.sort(np.concatenate(found))


def views(model: Calibrated, dataset: Dataset, split: Split, *, prepared: bool = False) -> View:
    """The view of every row of a split, in chunks of bounded memory.

    With `prepared`, texts are taken as bags of n-grams, which is quicker, and `unseen` is 0: bags hold what is seen.
    """
    take = columns.batch if prepared else columns.tensors
    size = _CHUNK_TEXTS if _reads_text(dataset) else _CHUNK_ROWS
    chunks = []
    model.eval()
    with torch.no_grad():
        for start in range(0, len(split), size):
            batch = take(dataset.inputs, split, slice(start, start + size))
            _, probabilities = Calibrated.forward(model, *batch)
            chunks.append(look(model.classifier, batch, probabilities))
    return View(*(torch.cat(parts) for parts in zip(*map(_members, chunks), strict=True)))


def _members(view: View) -> tuple[Tensor, ...]:
    return view.features, view.hidden, view.probabilities, view.unseen


def _reads_text(dataset: Dataset) -> bool:
    return any(schema.kind == "text" for schema in dataset.inputs)


def table(name: str, scores: npt.NDArray[np.float32]) -> Novelty:
    """The graph's own scores, float32 [N], of rows that nothing was fitted on, as the manifest keeps them."""
    ordered = np.sort(scores.astype(np.float64))
    return Novelty(score=name, rows=len(ordered), values=tuple(ordered[kept_ranks(len(ordered)) - 1].tolist()))
