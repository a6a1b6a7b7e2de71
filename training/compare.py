"""Two versions and the same labelled rows → what got better, what got worse, and what of it is more than chance."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from clipmax import manifest as manifests
from clipmax.manifest import MODEL_FILE, Manifest
from clipmax.refusal import Refusal, shorten
from clipmax.repository import Repository, read_verified
from training import answers, paired, run_file
from training.data import labelled
from training.data.dataset import Indices
from training.data.labelled import Labelled
from training.metrics import log_probabilities
from training.paired import Scored

_NAMED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63}):([1-9][0-9]{0,8})$")
_SHOWN_CLASSES = 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Change(_Part):
    """One figure before and after."""

    before: float
    after: float
    low: float = Field(description="of after - before: the lower end of the 95 % interval")
    high: float

    @property
    def difference(self) -> float:
        return self.after - self.before


class Churn(_Part):
    """How the answers of single rows changed."""

    right_to_wrong: int
    wrong_to_right: int
    wrong_to_wrong: int = Field(description="from one wrong answer to another")
    mcnemar: float = Field(description="exact two-sided p-value that neither version is right more often")

    @property
    def changed(self) -> int:
        return self.right_to_wrong + self.wrong_to_right + self.wrong_to_wrong


class ClassChange(_Part):
    """The rows of one label."""

    label: str
    rows: int
    right_before: int
    right_after: int
    right_to_wrong: int
    wrong_to_right: int


class Comparison(_Part):
    """What a version does differently from another on the same rows. Log loss is in nats."""

    before: str
    after: str
    data: str
    rows: int
    left_out: int = Field(description="rows whose label only one of the versions has")
    only_before: tuple[str, ...] = Field(description="labels that the later version does not have")
    only_after: tuple[str, ...]
    accuracy: Change
    log_loss: Change
    ece: Change
    macro_f1: Change
    churn: Churn
    classes: tuple[ClassChange, ...] = Field(description="of the labels that both have, in the first one's order")
    resamples: int
    seed: int


@dataclass(frozen=True, slots=True)
class Version:
    """A published version, read and checked."""

    manifest: Manifest
    graph: bytes

    @classmethod
    def read(cls, folder: Path) -> Version:
        """Raises Refusal where it is not there, or not whole."""
        manifest = manifests.load(folder)
        return cls(manifest, read_verified(folder, manifest, MODEL_FILE))

    @property
    def name(self) -> str:
        return f"{self.manifest.name}:{self.manifest.version}"


def find(given: str, models: Path) -> Version:
    """A version by its folder, or as `name:version` of a models folder.

    Raises:
        Refusal: it is not there, or not whole.
    """
    named = _NAMED.match(given)
    folder = Repository(models).folder(named[1], int(named[2])) if named and not Path(given).exists() else Path(given)
    return Version.read(folder.resolve())


def read(path: Path, *, label: str | None, overrides: Sequence[str] = ()) -> Labelled:
    """A table, a NumPy archive, or the test split of a RUN.toml with its `overrides`. Raises Refusal."""
    if path.suffix == ".toml":
        return labelled.test_split(run_file.read(path, overrides), path)
    return labelled.read(path, label=label)


def compare(
    before: Version, after: Version, rows: Labelled, *, common_labels: bool = False, seed: int = 0
) -> Comparison:
    """Run both graphs over the rows, each as the service would, by its own codes and ranges.

    Where the labels differ, each version still answers with all of its own.

    Args:
        before: the version to compare with.
        after: the version that is judged.
        rows: rows that neither was trained on.
        common_labels: where labels differ, whether to take the rows of those that both have.
        seed: of the bootstrap.

    Raises:
        Refusal: labels that differ, a label that a version does not have, columns that do not fit.
    """
    both = common(before, after, asked=common_labels)
    kept = _kept(before, after, rows, both)
    words = tuple(dict.fromkeys((*before.manifest.labels, *after.manifest.labels)))
    old, new = (_scored(version, rows, kept, words) for version in (before, after))
    ranges = paired.intervals(old, new, seed=seed).tolist()
    figures = zip(paired.FIGURES, old.figures().tolist(), new.figures().tolist(), ranges, strict=True)
    return Comparison(
        before=before.name,
        after=after.name,
        data=rows.where.name,
        rows=len(kept),
        left_out=len(rows) - len(kept),
        only_before=tuple(word for word in before.manifest.labels if word not in both),
        only_after=tuple(word for word in after.manifest.labels if word not in both),
        churn=_churn(old, new),
        classes=tuple(_class_change(old, new, words.index(word), word) for word in both),
        resamples=paired.RESAMPLES,
        seed=seed,
        **{name: Change(before=was, after=now, low=low, high=high) for name, was, now, (low, high) in figures},
    )


def lines(found: Comparison) -> list[str]:
    """The before/after table for a person."""
    changes = {"accuracy": found.accuracy, "log loss": found.log_loss, "ECE": found.ece, "macro F1": found.macro_f1}
    churn = found.churn
    return [
        f"{found.before} → {found.after} on {found.rows:,} rows of {found.data}",
        *_label_lines(found),
        "",
        *table(changes),
        "",
        (
            f"{churn.changed:,} answers changed: {churn.right_to_wrong:,} right → wrong, "
            f"{churn.wrong_to_right:,} wrong → right, {churn.wrong_to_wrong:,} wrong → wrong otherwise"
        ),
        f"exact McNemar test: p = {churn.mcnemar:.3g}",
        *_class_lines(found.classes),
    ]


def table(changes: Mapping[str, Change]) -> list[str]:
    """A line a figure below a heading."""
    width = max(map(len, changes)) + 2
    heading = f"{'':{width}}{'before':>9}{'after':>9}{'change':>10}   95 % interval"
    return [heading, *(_line(f"{name:{width}}", change) for name, change in changes.items())]


def _line(name: str, change: Change) -> str:
    chance = "" if paired.is_clear((change.low, change.high)) else "  may be chance"
    return (
        f"{name}{change.before:9.4f}{change.after:9.4f}{change.difference:+10.4f}   "
        f"{change.low:+.4f} to {change.high:+.4f}{chance}"
    )


def _label_lines(found: Comparison) -> list[str]:
    texts = only_lines(found.only_before, found.only_after)
    return [*texts, f"{found.left_out:,} rows left out"] if found.left_out or texts else []


def only_lines(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Which labels one of the versions lacks, if any."""
    named = {"before": before, "after": after}
    return [f"labels only {when}: {shorten(', '.join(words))}" for when, words in named.items() if words]


def _class_lines(classes: Sequence[ClassChange]) -> list[str]:
    """Those that changed, the largest change of right answers first."""
    changed = [one for one in classes if one.right_to_wrong or one.wrong_to_right]
    if not changed:
        return []
    changed.sort(key=lambda one: (-abs(one.right_after - one.right_before), -one.right_to_wrong - one.wrong_to_right))
    shown = changed[:_SHOWN_CLASSES]
    width = max(len("label"), *(len(one.label) for one in shown))
    more = len(changed) - len(shown)
    return [
        "",
        f"{'label':{width}}  {'rows':>7}  right before  right after  lost  won",
        *(
            f"{one.label:{width}}  {one.rows:7,}  {one.right_before:12,}  {one.right_after:11,}"
            f"  {one.right_to_wrong:4,}  {one.wrong_to_right:3,}"
            for one in shown
        ),
        *([f"and {more} labels that changed less"] if more else []),
    ]


def common(before: Version, after: Version, *, asked: bool) -> tuple[str, ...]:
    """The labels of both, in the first one's order; another order alone is no difference.

    Raises:
        Refusal: one has others, unless it was `asked` to leave these out; fewer than two common ones.
    """
    theirs, ours = before.manifest.labels, after.manifest.labels
    both = tuple(word for word in theirs if word in set(ours))
    if set(theirs) != set(ours) and not asked:
        expected = f"those of {before.name}, or --common-labels for the rows of those that both have"
        odd = sorted(set(theirs) ^ set(ours))
        raise Refusal(after.name, "labels", expected=expected, found=f"{len(odd)} others: {shorten(', '.join(odd))}")
    if len(both) < 2:
        raise Refusal(after.name, "labels", expected=f"two of those of {before.name}", found=str(len(both)))
    return both


def _kept(before: Version, after: Version, rows: Labelled, both: Sequence[str]) -> Indices:
    """Numbers of the rows whose label both versions have; a word that neither has is a mistake in the data."""
    words = before.manifest.labels
    numbered = any(isinstance(word, int) for word in rows.words)
    if numbered and words != after.manifest.labels:
        expected = "words, for the versions number their labels differently"
        raise Refusal(rows.where, "labels", expected=expected, found="class numbers")
    everything = words if numbered else tuple(dict.fromkeys((*words, *after.manifest.labels)))
    places = rows.known_classes(everything)
    wanted = [place for place, word in enumerate(everything) if word in set(both)]
    kept = np.flatnonzero(np.isin(places, wanted))
    if not len(kept):
        raise Refusal(rows.where, "rows", expected="one whose label both versions have", found="none")
    return kept


def _scored(version: Version, rows: Labelled, kept: Indices, words: Sequence[str]) -> Scored:
    """A version's answers, its classes numbered as in `words`."""
    manifest = version.manifest
    places = rows.classes(manifest.labels)
    split = rows.split(manifest.inputs, places).take(kept)
    found = answers.answer(answers.session(version.graph), manifest.inputs, split)
    numbers = np.array([words.index(label) for label in manifest.labels])
    log = log_probabilities(found.logits, manifest.temperature)
    top = found.logits.argmax(axis=1)
    return Scored(
        true=numbers[split.labels],
        answered=numbers[top],
        confidence=np.exp(log.max(axis=1)),
        surprise=-log[np.arange(len(log)), split.labels],
        classes=len(words),
    )


def _churn(old: Scored, new: Scored) -> Churn:
    lost, won = (old.correct & ~new.correct).sum(), (~old.correct & new.correct).sum()
    otherwise = (~old.correct & ~new.correct & (old.answered != new.answered)).sum()
    return Churn(
        right_to_wrong=int(lost),
        wrong_to_right=int(won),
        wrong_to_wrong=int(otherwise),
        mcnemar=paired.mcnemar(int(lost), int(won)),
    )


def _class_change(old: Scored, new: Scored, number: int, label: str) -> ClassChange:
    here = old.true == number
    return ClassChange(
        label=label,
        rows=int(here.sum()),
        right_before=int((here & old.correct).sum()),
        right_after=int((here & new.correct).sum()),
        right_to_wrong=int((here & old.correct & ~new.correct).sum()),
        wrong_to_right=int((here & ~old.correct & new.correct).sum()),
    )
