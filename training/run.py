"""The steps of one run, in order: read, split, fit the encoders, train, calibrate, test once, publish."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from clipmax import manifest
from clipmax.origin import Origin
from clipmax.refusal import Refusal
from training import (
    calibration,
    checkpoint,
    clipping,
    defaults,
    export,
    imprint,
    loop,
    losses,
    novelty,
    optimizers,
    predecessor,
    runtime,
    slope,
    tracking,
)
from training.config import Run
from training.data import report, sources
from training.data.dataset import Dataset, halves
from training.data.recoding import recode
from training.features import encoders
from training.heads import cost
from training.heads import table as heads
from training.heads.table import has_own_layer
from training.history import History
from training.loop import Progress
from training.many import judging
from training.many.top import Top
from training.mixture import Mixture, fit_share
from training.model import Calibrated, Classifier, Trunk, perceptron
from training.outcome import Outcome
from training.predecessor import Predecessor
from training.tracking import NOBODY, Tracker

Say = Callable[[str], None]


def train(
    run: Run,
    *,
    resume: bool = False,
    say: Say = tqdm.write,
    tracker: Tracker = NOBODY,
    history: History | None = None,
) -> Outcome:
    """One run from files to artifact.

    Args:
        run: the whole configuration.
        resume: go on from the newest checkpoint of this name, if there is one.
        say: receives one line at a time.
        tracker: is told of every epoch and of the end.
        history: of the search that this configuration is the winner of.

    Raises:
        Refusal: whatever cannot be used or does not work, with where, field, expected and found.
        KeyboardInterrupt: Ctrl-C; the checkpoint of the last finished epoch is on disk.
    """
    folder = run.runs / run.name
    with alone(folder):
        ready = read(run, say=say)
        progress, dataset = begin(ready)
        run, fingerprint = ready.run, ready.fingerprint
        _resume(folder, progress, run, fingerprint, resume=resume, say=say)
        with tracking.tracked(tracker, run) as follow:
            _fit(folder, progress, run, dataset, fingerprint, say=say, tracker=tracker)
            outcome = finish(
                run,
                dataset,
                fingerprint,
                progress,
                findings=ready.findings,
                origin=ready.predecessor.origin(dataset.labels) if ready.predecessor else None,
                history=history,
            )
            follow(outcome)
        checkpoint.remove(folder)
    return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A run with no value left open, and its data under the schema that the model will have."""

    run: Run
    dataset: Dataset
    fingerprint: str
    """Of the data as it was read."""
    findings: Sequence[str]
    predecessor: Predecessor | None


def read(run: Run, *, say: Say = lambda _: None) -> Ready:
    """Set torch up, read and check everything that a run needs, and say what was found.

    Raises:
        Refusal: whatever cannot be used, before an old checkpoint goes.
    """
    threads = runtime.prepare(run.threads)
    before = predecessor.read(run.start.version) if run.start.version else None
    dataset = sources.read(run.data, text_length=run.texts.max_length)
    fingerprint, findings = dataset.fingerprint(), report.lines(dataset)
    if before is not None:
        dataset = recode(dataset, before.manifest.inputs, where=before.folder)
        run = predecessor.fill(run, before)
    run = defaults.fill(run, dataset)
    loop.steps_per_epoch(run, dataset)
    if has_own_layer(run.head):
        cost.check_memory(run, len(dataset.labels))
    novelty.check(run.novelty, dataset)
    say(_describe(dataset, threads))
    for line in findings:
        say(f"data: {line}")
    if has_own_layer(run.head):
        say(f"head: {run.head.name}, answering {run.head.answer}")
        say(cost.expect(run, len(dataset.labels)).line())
    if before is not None:
        say(_describe_origin(before.origin(dataset.labels)))
    return Ready(run=run, dataset=dataset, fingerprint=fingerprint, findings=findings, predecessor=before)


def begin(ready: Ready) -> tuple[Progress, Dataset]:
    """The first weights, new ones or those of the version to go on from, and the data as its encoders take it."""
    progress = start(ready.run, ready.dataset, ready.predecessor)
    dataset = encoders.prepare(progress.model.placed, ready.dataset)
    if progress.model.head is not None and ready.run.head.start == "imprinted":
        imprint.imprint(progress.model, dataset)
    if ready.predecessor is not None:
        predecessor.take_over(progress, ready.run, dataset, ready.predecessor)
    return progress, dataset


def start(run: Run, dataset: Dataset, before: Predecessor | None = None) -> Progress:
    """A classifier at its first weights, with its optimizer; encoders see the training split only, or are restored."""
    torch.manual_seed(runtime.derive_seed(run.seed))
    shares = _shares(dataset)
    classes = len(dataset.labels)
    if has_own_layer(run.head):
        return _start_apart(run, dataset, shares)
    if before is None:
        placed = encoders.build(dataset.inputs, dataset.train, run, classes)
    else:
        placed = encoders.restore(dataset.inputs, before.weights, run, classes)
    reads_text = any(schema.kind == "text" for schema in dataset.inputs)
    mixture = Mixture.start_at(shares) if reads_text else None
    model = Classifier(placed, perceptron(encoders.width(placed), shares, run.model), mixture)
    optimizer = optimizers.build(model, run)
    weights = losses.class_weights(run.loss, dataset.train.labels, len(dataset.labels))
    return Progress(model, optimizer, clipping.NormHistory(), class_weights=weights)


def _start_apart(run: Run, dataset: Dataset, shares: torch.Tensor) -> Progress:
    """The same with a last layer of many classes; texts give features only, no logits of their own."""
    placed = encoders.build(dataset.inputs, dataset.train, run, 0)
    trunk = Trunk(encoders.width(placed), run.model)
    model = Classifier(placed, trunk, head=heads.build(run.model.hidden[-1], shares, run.head))
    return Progress(model, optimizers.build(model, run), clipping.NormHistory())


def _shares(dataset: Dataset) -> torch.Tensor:
    """float32 [K]: how frequent each class is in the training split."""
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.labels))
    return torch.from_numpy((counts / counts.sum()).astype(np.float32))


def finish(
    run: Run,
    dataset: Dataset,
    fingerprint: str,
    progress: Progress,
    *,
    findings: Sequence[str] = (),
    origin: Origin | None = None,
    history: History | None = None,
) -> Outcome:
    """Take the best weights, calibrate, fit the novelty score, let the exporter measure and publish."""
    model = calibrated(progress, dataset)
    if run.head.answer == "top":
        model = Top(model.classifier, float(model.temperature))
    finished = export.Finished(
        run=run,
        dataset=dataset,
        fingerprint=fingerprint,
        progress=progress,
        model=novelty.attached(model, dataset, run.novelty.score),
        findings=findings,
        origin=origin,
        history=history,
    )
    folder = export.publish(finished)
    measured = manifest.load(folder).metrics
    assert measured is not None  # noqa: S101  # only an imported version may have none
    return Outcome(folder, measured, float(model.temperature), progress.best_epoch)


def calibrated(progress: Progress, dataset: Dataset) -> Calibrated:
    """The best weights; the slope, if any, that validation's first half gives; the temperature that all of it gives."""
    model, held_out = chosen(progress, dataset), dataset.validation
    if model.head is not None:
        return Calibrated(model, judging.fit_temperature(model, dataset, held_out))
    logits = loop.logits_of(model, dataset, held_out)
    first, _ = halves(held_out.labels)
    line = slope.fit(logits[first], held_out.labels[first])
    if line is None:
        return Calibrated(model, calibration.fit_temperature(logits, held_out.labels))
    inclined = slope.Slope(line)
    logits = inclined(torch.from_numpy(logits)).numpy()
    return Calibrated(model, calibration.fit_temperature(logits, held_out.labels), inclined)


def chosen(progress: Progress, dataset: Dataset) -> Classifier:
    """The best weights, and of texts the best share of the linear model: both by validation's first half alone."""
    progress.settle()
    _mix(progress.model, dataset)
    return progress.model


def _mix(model: Classifier, dataset: Dataset) -> None:
    """Weigh the linear model of the texts against the perceptron."""
    if model.mixture is None:
        return
    held_out = dataset.selection
    model.mixture.share.fill_(0.0)
    deep = loop.logits_of(model, dataset, held_out)
    model.mixture.share.fill_(1.0)
    wide = loop.logits_of(model, dataset, held_out)
    model.mixture.share.fill_(fit_share(deep, wide, held_out.labels))


def _resume(folder: Path, progress: Progress, run: Run, fingerprint: str, *, resume: bool, say: Say) -> None:
    if not resume:
        checkpoint.remove(folder)
        return
    epoch = checkpoint.load_newest(folder, progress, run, fingerprint)
    say(f"resuming after epoch {epoch}" if epoch else "no checkpoint to resume from: starting at epoch 1")


def _fit(
    folder: Path, progress: Progress, run: Run, dataset: Dataset, fingerprint: str, *, say: Say, tracker: Tracker
) -> None:
    steps = loop.steps_per_epoch(run, dataset)

    def on_epoch(progress: Progress) -> None:
        checkpoint.save(folder, progress, run, fingerprint)
        say(progress.epochs[-1].line())
        tracker.epoch(progress.epochs[-1])

    with tqdm(
        total=steps * run.fit.epochs,
        initial=steps * len(progress.epochs),
        unit="step",
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
        loop.fit(progress, run, dataset, on_step=bar.update, on_epoch=on_epoch)


def _describe(dataset: Dataset, threads: int) -> str:
    rows = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    return f"{len(dataset.labels)} classes; rows: {rows}; {threads} threads"


def _describe_origin(origin: Origin) -> str:
    return f"from {origin.name} version {origin.version}: {origin.known_labels} labels known, {origin.new_labels} new"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One run a name at a time: two would overwrite each other's checkpoints. The lock ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refusal(folder, "lock", expected="no other run of this name", found="one in progress") from error
        yield
