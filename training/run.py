"""The steps of one run, in order: read, split, fit the encoders, train, calibrate, test once, publish."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from clipmax import manifest
from clipmax.refusal import Refusal
from training import calibration, checkpoint, clipping, defaults, export, loop, losses, optimizers, runtime, tracking
from training.config import Run
from training.data import report, sources
from training.data.dataset import Dataset
from training.features import encoders
from training.loop import Progress
from training.mixture import Mixture, fit_share
from training.model import Calibrated, Classifier, perceptron
from training.outcome import Outcome
from training.tracking import NOBODY, Tracker

Say = Callable[[str], None]


def train(run: Run, *, resume: bool = False, say: Say = tqdm.write, tracker: Tracker = NOBODY) -> Outcome:
    """One run from files to artifact.

    Args:
        run: the whole configuration.
        resume: go on from the newest checkpoint of this name, if there is one.
        say: receives one line at a time.
        tracker: is told of every epoch and of the end.

    Raises:
        Refusal: whatever cannot be used or does not work, with where, field, expected and found.
        KeyboardInterrupt: Ctrl-C; the checkpoint of the last finished epoch is on disk.
    """
    threads = runtime.prepare(run.threads)
    folder = run.runs / run.name
    with _alone(folder):
        dataset = sources.read(run.data, text_length=run.texts.max_length)
        run = defaults.fill(run, dataset)
        fingerprint = dataset.fingerprint()
        loop.steps_per_epoch(run, dataset)  # refuses what cannot work before an old checkpoint goes
        say(_describe(dataset, threads))
        findings = report.lines(dataset)
        for line in findings:
            say(f"data: {line}")
        progress = start(run, dataset)
        dataset = encoders.prepare(progress.model, dataset)
        _resume(folder, progress, run, fingerprint, resume=resume, say=say)
        with tracking.tracked(tracker, run) as follow:
            _fit(folder, progress, run, dataset, fingerprint, say=say, tracker=tracker)
            outcome = finish(run, dataset, fingerprint, progress, findings=findings)
            follow(outcome)
        checkpoint.remove(folder)
    return outcome


def start(run: Run, dataset: Dataset) -> Progress:
    """A classifier at its first weights, with its optimizer; encoders see the training split only."""
    torch.manual_seed(runtime.derive_seed(run.seed))
    shares = _shares(dataset)
    placed = encoders.build(dataset.inputs, dataset.train, run, len(dataset.labels))
    reads_text = any(schema.kind == "text" for schema in dataset.inputs)
    mixture = Mixture.start_at(shares) if reads_text else None
    model = Classifier(placed, perceptron(encoders.width(placed), shares, run.model), mixture)
    optimizer = optimizers.build(model, run)
    weights = losses.class_weights(run.loss, dataset.train.labels, len(dataset.labels))
    return Progress(model, optimizer, clipping.NormHistory(), class_weights=weights)


def _shares(dataset: Dataset) -> torch.Tensor:
    """float32 [K]: how frequent each class is in the training split."""
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.labels))
    return torch.from_numpy((counts / counts.sum()).astype(np.float32))


def finish(
    run: Run, dataset: Dataset, fingerprint: str, progress: Progress, *, findings: Sequence[str] = ()
) -> Outcome:
    """Take the best weights, fit the temperature on half of validation, let the exporter measure and publish."""
    progress.model.load_state_dict(progress.best_weights)
    _mix(progress.model, dataset)
    temperature = calibration.fit_temperature(
        loop.logits_of(progress.model, dataset, dataset.selection), dataset.selection.labels
    )
    finished = export.Finished(
        run=run,
        dataset=dataset,
        fingerprint=fingerprint,
        progress=progress,
        model=Calibrated(progress.model, temperature),
        findings=findings,
    )
    folder = export.publish(finished)
    return Outcome(folder, manifest.load(folder).metrics, temperature, progress.best_epoch)


def _mix(model: Classifier, dataset: Dataset) -> None:
    """Weigh the linear model of the texts against the perceptron, on the rows that fit the temperature too."""
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


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One run a name at a time: two would overwrite each other's checkpoints. The lock ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refusal(folder, "lock", expected="no other run of this name", found="one in progress") from error
        yield
