"""What a run measures, epoch by epoch → TensorBoard, Weights & Biases or MLflow, for those who look there.

The report needs none of them. A tracker is one small class with the three methods of `Tracker`; each of these needs an
extra of its name and speaks to nobody unless asked for by its flag.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from clipmax.refusal import Refusal
from training.config import Run

if TYPE_CHECKING:
    from training.loop import EpochFigures
    from training.outcome import Outcome


class Tracker(Protocol):
    """Follows one run from its configuration to its outcome."""

    def start(self, run: Run) -> None:
        """Called once the configuration is complete. Raises Refusal where the extra is missing."""

    def epoch(self, figures: EpochFigures) -> None:
        """Called after every finished epoch; a resumed run goes on after those it has done."""

    def finish(self, outcome: Outcome | None) -> None:
        """Called once at the end; None where the run ended without an artifact."""


class TensorBoard:
    """Event files under `<folder>/<name>`; look at them with `tensorboard --logdir <folder>`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def start(self, run: Run) -> None:
        writer = _load("torch.utils.tensorboard", extra="tensorboard").SummaryWriter
        self._writer = writer(str(self._folder / run.name))
        self._writer.add_text("configuration", f"```json\n{run.model_dump_json(indent=1)}\n```")

    def epoch(self, figures: EpochFigures) -> None:
        for name, value in scalars(figures).items():
            self._writer.add_scalar(name, value, figures.epoch)
        self._writer.flush()

    def finish(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            for name, value in results(outcome).items():
                self._writer.add_scalar(name, value, outcome.best_epoch)
            self._writer.add_text("artifact", str(outcome.folder))
        self._writer.close()


class WeightsAndBiases:
    """One run of a project; `WANDB_MODE=offline` keeps it on this machine until `wandb sync`."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._run: Any = None

    def start(self, run: Run) -> None:
        wandb = _load("wandb", extra="wandb")
        self._run = wandb.init(project=self._project, name=run.name, config=run.model_dump(mode="json"))

    def epoch(self, figures: EpochFigures) -> None:
        self._run.log(scalars(figures), step=figures.epoch)

    def finish(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._run.summary.update({**results(outcome), "artifact": str(outcome.folder)})
        self._run.finish(exit_code=0 if outcome else 1)


class MlFlow:
    """One run of an experiment at `MLFLOW_TRACKING_URI`; report and manifest become its artifacts."""

    def __init__(self, experiment: str) -> None:
        self._experiment = experiment
        self._mlflow: Any = None

    def start(self, run: Run) -> None:
        self._mlflow = _load("mlflow", extra="mlflow")
        self._mlflow.set_experiment(self._experiment)
        self._mlflow.start_run(run_name=run.name)
        self._mlflow.log_params({key: json.dumps(value) for key, value in _flat(run.model_dump(mode="json")).items()})

    def epoch(self, figures: EpochFigures) -> None:
        self._mlflow.log_metrics(scalars(figures), step=figures.epoch)

    def finish(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._mlflow.log_metrics(results(outcome))
            for name in ("manifest.json", "report.html", "report.json"):
                self._mlflow.log_artifact(str(outcome.folder / name))
        self._mlflow.end_run(status="FINISHED" if outcome else "FAILED")


class Together:
    """Several trackers as one; none is an ordinary case."""

    def __init__(self, *trackers: Tracker) -> None:
        self._trackers = trackers

    def start(self, run: Run) -> None:
        for tracker in self._trackers:
            tracker.start(run)

    def epoch(self, figures: EpochFigures) -> None:
        for tracker in self._trackers:
            tracker.epoch(figures)

    def finish(self, outcome: Outcome | None) -> None:
        for tracker in self._trackers:
            tracker.finish(outcome)


NOBODY = Together()
"""Follows nothing."""


@contextmanager
def tracked(tracker: Tracker, run: Run) -> Iterator[Callable[[Outcome], None]]:
    """Start, and finish however the block ends; the block hands its outcome to what it gets."""
    found: list[Outcome] = []
    tracker.start(run)
    try:
        yield found.append
    except BaseException:
        # The run has failed already: what a tracker adds to that must not hide why.
        with suppress(Exception):
            tracker.finish(None)
        raise
    tracker.finish(found[-1] if found else None)


def scalars(figures: EpochFigures) -> dict[str, float]:
    """All numbers of an epoch by name, those of the diagnostics under `diagnostics/`."""
    flat = _flat(asdict(figures), separator="/")
    return {name: float(value) for name, value in flat.items() if name != "epoch"}


def results(outcome: Outcome) -> dict[str, float]:
    """The figures of the test split by name, and the temperature."""
    figures = {f"test/{name}": float(value) for name, value in outcome.metrics.model_dump().items()}
    return {**figures, "temperature": outcome.temperature}


def _load(module: str, *, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        expected = f"the extra: pip install 'clipmax[{extra}]'"
        raise Refusal(f"--{extra}", "package", expected=expected, found="none") from error


def _flat(section: Mapping[str, Any], *, prefix: str = "", separator: str = ".") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flat(value, prefix=f"{name}{separator}", separator=separator)
        else:
            flat[name] = value
    return flat
