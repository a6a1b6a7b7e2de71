"""The file that a search keeps its trials in: opened by one process at a time, gone on with after any end of it."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipmax.refusal import Refusal
from training.config import Tune
from training.history import History, Trial
from training.runtime import derive_seed

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

LEFT = "left"
"""Attribute of a trial whose process ended before it: it says nothing about the parameters."""
REASON, EPOCHS = "reason", "epochs"
_OF = "of"
_FIRST_TRIALS = 4
_REDUCTION = 3


class _Held:
    """The journal's lock: the run's own is held all the time, and a second one would outlive a killed process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def open_study(path: Path, *, of: str, settings: Tune, epochs: int) -> Study:
    """The study in a journal, a new one if there is no file. The caller holds the run's lock.

    A trial that is still running there belongs to a process that is no more, because only one searches at a time: it
    is marked failed.

    Args:
        path: of the journal.
        of: what is searched, as one string; a journal of something else is refused.
        settings: the `[tune]` section.
        epochs: of a whole trial.

    Raises:
        Refusal: the extra is missing; the journal is broken or belongs to other data or another configuration.
    """
    optuna = _optuna()
    optuna.logging.set_verbosity(logging.WARNING)
    try:
        _mend(path)
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path), _Held()))
        study: Study = optuna.create_study(
            storage=storage, study_name="search", load_if_exists=True, pruner=_pruner(optuna, settings, epochs)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(path, "journal", expected="the journal of a search", found=str(error)) from error
    if study.user_attrs.setdefault(_OF, of) != of:
        expected = "the same configuration and data as before, or no such file"
        raise Refusal(path, "journal", expected=expected, found="others")
    study.set_user_attr(_OF, of)
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        leave(study, trial.number, "its process ended")
    return study


def seed_next(study: Study, seed: int) -> None:
    """Let what the next trial tries depend on seed, its number and the trials before it: not on when they were run."""
    number = len(study.get_trials(deepcopy=False))
    study.sampler = _optuna().samplers.TPESampler(seed=derive_seed(seed, number) % 2**32)


def leave(study: Study, number: int, reason: str) -> None:
    """Mark a trial that was not finished as failed."""
    optuna = _optuna()
    trial = optuna.trial.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)  # noqa: SLF001  # no other way
    trial.set_user_attr(REASON, reason)
    trial.set_user_attr(LEFT, value=True)
    study.tell(number, state=optuna.trial.TrialState.FAIL)


def ended(study: Study) -> int:
    """Trials that came to an end of their own: completed, pruned, or failed by what they tried."""
    trials = study.get_trials(deepcopy=False)
    return sum(trial.state.is_finished() and not trial.user_attrs.get(LEFT, False) for trial in trials)


def history(study: Study, seed: int) -> History:
    """All trials. Raises Refusal if none was completed."""
    trials = tuple(_trial(trial) for trial in study.get_trials(deepcopy=False))
    if not any(trial.state == "completed" for trial in trials):
        reason = next((trial.reason for trial in trials if trial.reason), None)
        found = f"{len(trials)} that failed; the first: {reason}" if reason else f"{len(trials)} trials, none of them"
        raise Refusal("tune", "trials", expected="one that comes to its end", found=found)
    return History(seed=seed, trials=trials, importance=_importance(study))


def _trial(trial: FrozenTrial) -> Trial:
    state = {"COMPLETE": "completed", "PRUNED": "pruned", "FAIL": "failed"}[trial.state.name]
    return Trial.model_validate({
        "number": trial.number,
        "state": state,
        "value": trial.value if state == "completed" else None,
        "epochs": trial.user_attrs.get(EPOCHS, 0),
        "parameters": trial.params,
        "reason": trial.user_attrs.get(REASON),
    })  # fmt: skip


def _importance(study: Study) -> Mapping[str, float]:
    """How much each parameter tells good trials from others (Watanabe, Bansal & Hutter 2023, PED-ANOVA)."""
    optuna = _optuna()
    completed = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    names = sorted({name for trial in completed for name in trial.params})
    if sum(bool(trial.params) for trial in completed) < 2 * _FIRST_TRIALS:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found: Mapping[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator, params=names)
    return found


def _pruner(optuna: Any, settings: Tune, epochs: int) -> Any:
    if settings.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=max(1, epochs // _REDUCTION**2), max_resource=epochs, reduction_factor=_REDUCTION
        )
    return optuna.pruners.MedianPruner(n_startup_trials=_FIRST_TRIALS, n_warmup_steps=max(2, epochs // 3))


def _mend(path: Path) -> None:
    """Cut off half a line, as a full disk or a killed process leaves it: what is added behind it could not be read.

    Raises:
        ValueError: a whole line that is no JSON.
    """
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    for line in content[:whole].splitlines():
        json.loads(line)
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)


def _optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise Refusal("tune", "package", expected="the extra: pip install 'clipmax[tune]'", found="none") from error
