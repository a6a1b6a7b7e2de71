"""A run with a share of its classes hidden, in turn → how well each novelty score tells the hidden from the known.

No rows from outside are needed: a class that a network never saw is as near an unknown as there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from clipmax.refusal import Refusal
from training import config, defaults, loop, novelty, observation, run, runtime
from training.data import sources
from training.data.dataset import Dataset, Indices, Split
from training.features import encoders
from training.model import Calibrated

Say = Callable[[str], None]
Floats = npt.NDArray[np.float64]

KEPT = 0.95
"""Share of the known rows below the threshold at which it is counted how many of the others pass."""

_HIDDEN_ROWS = 5_000
_LEAST_KNOWN = 2


class Figures(BaseModel):
    """One score against one group of rows that the model should find novel; an entry a fold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: str
    group: str = Field(description="hidden: rows of the hidden classes; else the name of a group from outside")
    auroc: tuple[float, ...] = Field(description="how often such a row scores higher than a known one; 0.5 is chance")
    passed: tuple[float, ...] = Field(description="share of such rows below the threshold that keeps 95 % of the known")


class Comparison(BaseModel):
    """What was hidden, and every score on it, the exported one among them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exported: str = Field(description="the score that the configuration names")
    classes: int
    hidden: int = Field(description="classes hidden in each fold")
    accuracy: tuple[float, ...] = Field(description="on the known rows; an entry a fold")
    figures: tuple[Figures, ...] = Field(description="by group, the highest mean AUROC first")


def compare(
    settings: config.Run,
    *,
    share: float,
    folds: int,
    others: Mapping[str, Split] | None = None,
    say: Say = lambda _: None,
) -> Comparison:
    """Train once a fold without the hidden classes and score what it never saw.

    Known rows are the half of validation that nothing is fitted on; hidden ones come from training and validation. The
    test split is not looked at.

    Args:
        settings: the run; nothing is published.
        share: of the classes to hide in each fold, at least one.
        folds: how often; the hidden classes go round, so that each is hidden as often as any other.
        others: further groups of rows by name, of no class at all.
        say: is told of each fold.

    Raises:
        Refusal: fewer than two classes would be left; whatever training refuses.
    """
    if settings.start.version is not None:
        raise Refusal("configuration", "start.version", expected="none: it has seen what is hidden", found="a version")
    runtime.prepare(settings.threads)
    dataset = sources.read(settings.data, text_length=settings.texts.max_length)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    accuracy = []
    count = _hidden_count(len(dataset.labels), share)
    for fold, hidden in enumerate(_draws(len(dataset.labels), count, folds, settings.seed)):
        known, aside = hide(dataset, hidden)
        model, known = _train(settings, known)
        accuracy.append(_score(model, known, {"hidden": aside, **(others or {})}, found))
        say(f"fold {fold + 1} of {folds}: accuracy {accuracy[-1]:.4f} on {len(known.labels)} known classes")
    return Comparison(
        exported=settings.novelty.score,
        classes=len(dataset.labels),
        hidden=count,
        accuracy=tuple(accuracy),
        figures=_sorted(found),
    )


def _hidden_count(classes: int, share: float) -> int:
    count = max(1, round(share * classes))
    if classes - count < _LEAST_KNOWN:
        expected = f"at least {_LEAST_KNOWN} classes left when {count} of {classes} are hidden"
        raise Refusal("novelty", "--leave-out", expected=expected, found=str(classes - count))
    return count


def _draws(classes: int, count: int, folds: int, seed: int) -> Iterator[Indices]:
    """The classes in random order, so many after those of the last fold, from the beginning again at the end."""
    order = np.random.default_rng(seed).permutation(classes)
    for fold in range(folds):
        yield order[np.arange(fold * count, (fold + 1) * count) % classes]


def hide(dataset: Dataset, hidden: Indices) -> tuple[Dataset, Split]:
    """The data without some classes, and the rows of these classes from training and validation, at most 5,000.

    Labels of the rows set aside mean nothing.
    """
    kept = np.setdiff1d(np.arange(len(dataset.labels)), hidden)

    def without(split: Split) -> Split:
        rows = split.take(np.flatnonzero(np.isin(split.labels, kept)))
        return replace(rows, labels=np.searchsorted(kept, rows.labels))

    known = replace(
        dataset,
        labels=tuple(dataset.labels[label] for label in kept),
        train=without(dataset.train),
        validation=without(dataset.validation),
        test=without(dataset.test),
    )
    return known, _aside(dataset, hidden)


def _aside(dataset: Dataset, hidden: Indices) -> Split:
    splits = [
        split.take(np.flatnonzero(np.isin(split.labels, hidden))) for split in (dataset.train, dataset.validation)
    ]
    names = [schema.name for schema in dataset.inputs]
    joined = Split(
        {name: np.concatenate([split.columns[name] for split in splits]) for name in names},
        np.zeros(sum(map(len, splits)), dtype=np.int64),
    )
    return joined.take(observation.evenly(len(joined), _HIDDEN_ROWS))


def _train(settings: config.Run, dataset: Dataset) -> tuple[Calibrated, Dataset]:
    """The run on these rows, in memory."""
    settings = defaults.fill(settings, dataset)
    progress = run.start(settings, dataset)
    dataset = encoders.prepare(progress.model.placed, dataset)
    loop.fit(progress, settings, dataset)
    return run.calibrated(progress, dataset).eval(), dataset


def _score(
    model: Calibrated,
    dataset: Dataset,
    groups: Mapping[str, Split],
    found: dict[tuple[str, str], list[tuple[float, float]]],
) -> float:
    """Every score on the known rows and on each group; returns the accuracy on the known."""
    sample = novelty.sample(model, dataset)
    known = novelty.views(model, dataset, dataset.calibration)
    views = {group: novelty.views(model, dataset, rows) for group, rows in groups.items()}
    with torch.no_grad():
        for name, fit in novelty.SCORES.items():
            if name == "unseen" and not sample.reads_text:
                continue
            score = fit(sample)
            usual = score(known).double().numpy()
            for group, view in views.items():
                unusual = score(view).double().numpy()
                passed = float(np.mean(unusual <= np.quantile(usual, KEPT)))
                found.setdefault((name, group), []).append((auroc(usual, unusual), passed))
    return float(np.mean(known.probabilities.argmax(dim=1).numpy() == dataset.calibration.labels))


def auroc(usual: Floats, unusual: Floats) -> float:
    """How often a row of the second group scores higher than one of the first; equal scores count half.

    The area under the curve of hits by false alarms, by ranks (Mann & Whitney 1947).
    """
    ordered = np.sort(usual)
    lower, higher = (np.searchsorted(ordered, unusual, side=side) for side in ("left", "right"))
    return float(np.mean((lower + higher) / 2) / len(usual))


def _sorted(found: Mapping[tuple[str, str], Sequence[tuple[float, float]]]) -> tuple[Figures, ...]:
    figures = [
        Figures(score=score, group=group, auroc=tuple(one[0] for one in each), passed=tuple(one[1] for one in each))
        for (score, group), each in found.items()
    ]
    groups = list(dict.fromkeys(one.group for one in figures))
    return tuple(sorted(figures, key=lambda one: (groups.index(one.group), -float(np.mean(one.auroc)))))


def lines(comparison: Comparison) -> list[str]:
    """The table for a person."""
    folds, accuracy = len(comparison.accuracy), np.mean(comparison.accuracy)
    known = f"accuracy {accuracy:.4f} on the others"
    return [
        f"{comparison.hidden} of {comparison.classes} classes hidden, {folds} folds; {known}",
        f"score         rows          AUROC  lowest  highest  of which pass where {KEPT:.0%} of the known do",
        *map(_line, comparison.figures),
        _verdict(comparison),
    ]


def _line(one: Figures) -> str:
    mean, low, high = np.mean(one.auroc), min(one.auroc), max(one.auroc)
    return f"{one.score:<14}{one.group:<14}{mean:5.3f}   {low:5.3f}    {high:5.3f}  {np.mean(one.passed):.1%}"


def _verdict(comparison: Comparison) -> str:
    best = next(one.score for one in comparison.figures if one.group == "hidden")
    if comparison.exported == novelty.OFF:
        return f"exported: none; the best here is {best}, set by novelty.score = {best!r}"
    if comparison.exported == best:
        return f"exported: {best}, the best here"
    return f"exported: {comparison.exported}; the best here is {best}, set by novelty.score = {best!r}"
