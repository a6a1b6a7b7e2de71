"""The steps of one run, in order: read, split, fit the encoders, train, calibrate, test once, publish."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from clipmax.manifest import Metrics
from clipmax.refusal import Refusal
from training import calibration, checkpoint, clipping, export, loop, metrics, optimizers, runtime
from training.config import Run
from training.data import sources
from training.data.dataset import Dataset
from training.features import encoders
from training.loop import Progress
from training.model import Calibrated, Classifier, Mlp

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the artifact is and what it reached."""

    folder: Path
    metrics: Metrics
    temperature: float


def train(run: Run, *, resume: bool = False, say: Say = tqdm.write) -> Outcome:
    """One run from files to artifact.

    Args:
        run: the whole configuration.
        resume: go on from the newest checkpoint of this name, if there is one.
        say: receives one line at a time.

    Raises:
        Refusal: whatever cannot be used or does not work, with where, field, expected and found.
        KeyboardInterrupt: Ctrl-C; the checkpoint of the last finished epoch is on disk.
    """
    threads = runtime.prepare(run.threads)
    folder = run.runs / run.name
    with _alone(folder):
        dataset = sources.read(run.data)
        fingerprint = dataset.fingerprint()
        loop.steps_per_epoch(run, dataset)  # refuses what cannot work before an old checkpoint goes
        say(_describe(dataset, threads))
        progress = start(run, dataset)
        _resume(folder, progress, run, fingerprint, resume=resume, say=say)
        _fit(folder, progress, run, dataset, fingerprint, say=say)
        outcome = finish(run, dataset, fingerprint, progress)
        checkpoint.remove(folder)
    return outcome


def start(run: Run, dataset: Dataset) -> Progress:
    """A classifier at its first weights, with its optimizer; encoders see the training split only."""
    torch.manual_seed(runtime.derive_seed(run.seed))
    placed = encoders.build(dataset.inputs, dataset.train, run)
    model = Classifier(placed, Mlp(encoders.width(placed), len(dataset.labels), run.model))
    optimizer = optimizers.OPTIMIZERS[run.optimizer.name](model.parameters(), run.optimizer)
    return Progress(model, optimizer, clipping.NormHistory())


def finish(run: Run, dataset: Dataset, fingerprint: str, progress: Progress) -> Outcome:
    """Take the best weights, fit the temperature on validation, test once, publish."""
    progress.model.load_state_dict(progress.best_weights)
    temperature = calibration.fit_temperature(
        loop.logits_of(progress.model, dataset, dataset.validation), dataset.validation.labels
    )
    tested = metrics.evaluate(loop.logits_of(progress.model, dataset, dataset.test), dataset.test.labels, temperature)
    finished = export.Finished(
        run=run,
        dataset=dataset,
        fingerprint=fingerprint,
        progress=progress,
        model=Calibrated(progress.model, temperature),
        metrics=tested,
    )
    return Outcome(export.publish(finished), tested, temperature)


def _resume(folder: Path, progress: Progress, run: Run, fingerprint: str, *, resume: bool, say: Say) -> None:
    if not resume:
        checkpoint.remove(folder)
        return
    epoch = checkpoint.load_newest(folder, progress, run, fingerprint)
    say(f"resuming after epoch {epoch}" if epoch else "no checkpoint to resume from: starting at epoch 1")


def _fit(folder: Path, progress: Progress, run: Run, dataset: Dataset, fingerprint: str, *, say: Say) -> None:
    steps = loop.steps_per_epoch(run, dataset)

    def on_epoch(progress: Progress) -> None:
        checkpoint.save(folder, progress, run, fingerprint)
        say(progress.epochs[-1].line())

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
