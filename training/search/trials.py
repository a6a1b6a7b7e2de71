"""A run and a budget → trials, each a whole training that never sees the test split, and the best one trained again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from clipmax.refusal import Refusal
from training import calibration, loop, metrics
from training import run as running
from training.config import Run
from training.data.dataset import Dataset
from training.history import History
from training.loop import Progress
from training.many import judging
from training.model import Classifier
from training.outcome import Outcome
from training.run import Ready, Say
from training.search import journal
from training.search.space import LINEAR, Space, apply, space_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

JOURNAL_FILE = "tune.journal"
_MAY_CHANGE = {"models", "runs", "threads"}


def tune(run: Run, *, trials: int, minutes: float | None = None, say: Say = tqdm.write) -> Outcome:
    """Search, then train the winner as if its parameters had stood in the file, and publish it.

    Args:
        run: the configuration; trial 0 is it, unchanged.
        trials: in the end, those of earlier starts included; a trial that its process left does not count.
        minutes: no trial is begun later than this; by default no bound.
        say: receives one line at a time.

    Raises:
        Refusal: whatever `training.run.train` refuses; no trial came to its end.
        KeyboardInterrupt: Ctrl-C; the trials so far are in the journal.
    """
    with running.alone(run.runs / run.name):
        ready = running.read(run, say=say)
        found = search(ready, trials=trials, minutes=minutes, say=say)
    say(f"best: trial {found.best.number}, {found.best.value:.4f}; training it again")
    return running.train(apply(ready.run, found.best.parameters), say=say, history=found)


def search(ready: Ready, *, trials: int, minutes: float | None = None, say: Say = tqdm.write) -> History:
    """All trials, in `<runs>/<name>/tune.journal`. The caller holds the run's lock."""
    run, space = ready.run, space_of(ready.run, ready.dataset)
    path = run.runs / run.name / JOURNAL_FILE
    study = journal.open_study(path, of=_identity(ready), settings=run.tune, epochs=run.fit.epochs)
    ready = without_test(ready)
    deadline = None if minutes is None else time.monotonic() + 60.0 * minutes
    while journal.ended(study) < trials and (deadline is None or time.monotonic() < deadline):
        journal.seed_next(study, run.seed)
        _attempt(study, study.ask(), ready, space, say=say)
    return journal.history(study, run.seed)


def without_test(ready: Ready) -> Ready:
    """The same with an empty test split: what is not there cannot be chosen by."""
    none = np.empty(0, dtype=np.int64)
    return replace(ready, dataset=replace(ready.dataset, test=ready.dataset.test.take(none)))


def _attempt(study: Study, trial: Trial, ready: Ready, space: Space, *, say: Say) -> None:
    """One trial, whatever it ends with; only what is no fault of its parameters goes on upwards."""
    from optuna import TrialPruned
    from optuna.trial import TrialState

    try:
        parameters = _suggest(trial, space)
        value = _value(trial, ready, parameters)
    except TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        say(f"{_name(trial)}  pruned after epoch {trial.user_attrs[journal.EPOCHS]}")
    except Refusal as refusal:
        trial.set_user_attr(journal.REASON, str(refusal))
        study.tell(trial, state=TrialState.FAIL)
        say(f"{_name(trial)}  failed: {refusal}")
    except BaseException:
        journal.leave(study, trial.number, "interrupted")
        raise
    else:
        study.tell(trial, value)
        say(f"{_name(trial)}  log loss {value:.4f} (best {study.best_value:.4f})  {_shown(parameters)}")


def _suggest(trial: Trial, space: Space) -> Mapping[str, float]:
    """Trial 0 is the configuration as it stands, so that a search never ends with less."""
    if trial.number == 0:
        return {}
    return {
        name: trial.suggest_float(name, interval.low, interval.high, log=name not in LINEAR)
        for name, interval in space.items()
    }


def _value(trial: Trial, ready: Ready, parameters: Mapping[str, float]) -> float:
    """The log loss on validation's first half, at the temperature that fits it: the second half chooses nothing."""
    from optuna import TrialPruned

    def on_epoch(progress: Progress) -> None:
        epoch = len(progress.epochs)
        trial.set_user_attr(journal.EPOCHS, epoch)
        trial.report(progress.epochs[-1].validation_log_loss, epoch)
        if trial.should_prune():
            raise TrialPruned

    run = apply(ready.run, parameters)
    progress, dataset = running.begin(replace(ready, run=run))
    loop.fit(progress, run, dataset, on_epoch=on_epoch)
    return _log_loss(running.chosen(progress, dataset), dataset)


def _log_loss(model: Classifier, dataset: Dataset) -> float:
    """On the half of validation that chooses; of very many classes on part of it, over all classes chunk by chunk."""
    held_out = dataset.selection
    if model.head is not None:
        temperature = judging.fit_temperature(model, dataset, held_out)
        looked = held_out.take(judging.look_rows(len(held_out), model.head.classes))
        return float(judging.judge(model, dataset, looked, temperature).log_loss.mean())
    logits = loop.logits_of(model, dataset, held_out)
    return metrics.log_loss(logits, held_out.labels, calibration.fit_temperature(logits, held_out.labels))


def _identity(ready: Ready) -> str:
    """SHA-256 over what trials must have in common to be compared."""
    configuration = ready.run.model_dump(mode="json", exclude=_MAY_CHANGE)
    content = json.dumps([configuration, ready.fingerprint], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _name(trial: Trial) -> str:
    return f"trial {trial.number:3d}"


def _shown(parameters: Mapping[str, float]) -> str:
    shown = ", ".join(f"{name} {value:.3g}" for name, value in parameters.items())
    return shown or "as configured"
