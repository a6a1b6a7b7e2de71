"""Each tracker is told of every epoch and of the end, by its own library, on this machine only."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from clipmax.manifest import Manifest
from clipmax.refusal import Refusal
from training import tracking
from training.config import Run
from training.data.dataset import Dataset
from training.loop import EpochFigures, Progress
from training.outcome import Outcome
from training.tracking import MlFlow, TensorBoard, Together, WeightsAndBiases


class Notes:
    """A tracker that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, run: Run) -> None:
        self.told.append(run.name)

    def epoch(self, figures: EpochFigures) -> None:
        self.told.append(figures.epoch)

    def finish(self, outcome: Outcome | None) -> None:
        self.told.append(outcome)


@pytest.fixture
def outcome(artifact: Path, manifest: Manifest) -> Outcome:
    """Of the published run."""
    assert manifest.metrics
    assert manifest.training
    return Outcome(artifact, manifest.metrics, manifest.temperature, manifest.training.best_epoch)


def follow(tracker: tracking.Tracker, trained: tuple[Run, Dataset, Progress], outcome: Outcome) -> None:
    """Tell a tracker the whole run."""
    settings, _, progress = trained
    with tracking.tracked(tracker, settings) as done:
        for figures in progress.epochs:
            tracker.epoch(figures)
        done(outcome)


def test_scalars_are_all_the_numbers_of_an_epoch(trained: tuple[Run, Dataset, Progress]) -> None:
    """With those of the diagnostics, by layer too."""
    found = tracking.scalars(trained[2].epochs[0])
    assert found["loss"] == trained[2].epochs[0].loss
    assert {"diagnostics/margin", "diagnostics/gradient_norms/mlp.0", "diagnostics/dead_units/mlp.0/dead"} <= set(found)
    assert all(isinstance(value, float) for value in found.values())


def test_several_trackers_are_told_the_same(trained: tuple[Run, Dataset, Progress], outcome: Outcome) -> None:
    """In order: start, epochs, finish."""
    one, two = Notes(), Notes()
    follow(Together(one, two), trained, outcome)
    assert one.told == two.told == ["tiny", 1, 2, 3, 4, 5, 6, outcome]


def test_a_run_that_breaks_is_finished_without_an_outcome(trained: tuple[Run, Dataset, Progress]) -> None:
    """And its own error comes through, whatever the tracker does."""

    class Broken(Notes):
        def finish(self, outcome: Outcome | None) -> None:
            super().finish(outcome)
            raise OSError

    tracker = Broken()
    with pytest.raises(KeyboardInterrupt), tracking.tracked(tracker, trained[0]):
        raise KeyboardInterrupt
    assert tracker.told == ["tiny", None]


def test_tensorboard_can_read_what_was_written(
    trained: tuple[Run, Dataset, Progress], outcome: Outcome, tmp_path: Path
) -> None:
    """Every scalar of every epoch, by TensorBoard's own reader."""
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of protobuf
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        follow(TensorBoard(tmp_path), trained, outcome)
        reader = EventAccumulator(str(tmp_path / "tiny")).Reload()
    losses = reader.Scalars("loss")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in losses] == pytest.approx([epoch.loss for epoch in trained[2].epochs])
    assert reader.Scalars("test/accuracy")[0].value == pytest.approx(outcome.metrics.accuracy)


def test_weights_and_biases_works_offline(
    trained: tuple[Run, Dataset, Progress], outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its offline mode a run lies in a folder and nothing leaves the machine."""
    pytest.importorskip("wandb")
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        follow(WeightsAndBiases("clipmax"), trained, outcome)
    (record,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    content = _settled(record)
    assert b"diagnostics" in content
    assert b"test/accuracy" in content


def _settled(record: Path) -> bytes:
    """A file's bytes once it has stopped growing past its header: its writer is another process."""
    for _ in range(100):
        content = record.read_bytes()
        if b"test/accuracy" in content:
            break
        time.sleep(0.1)
    return content


def test_mlflow_keeps_figures_and_report(
    trained: tuple[Run, Dataset, Progress], outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder, read back by its own client."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a server would need the whole of mlflow
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it deprecates folders in favour of data bases
        follow(MlFlow("digits"), trained, outcome)
        (found,) = mlflow.search_runs(experiment_names=["digits"], output_format="list")
        names = {file.path for file in mlflow.MlflowClient().list_artifacts(found.info.run_id)}
    assert found.info.status == "FINISHED"
    assert found.data.metrics["test/accuracy"] == outcome.metrics.accuracy
    assert names == {"manifest.json", "report.html", "report.json"}


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, trained: tuple[Run, Dataset, Progress]) -> None:
    """With the command that installs it."""
    monkeypatch.setattr("importlib.import_module", _none)
    with pytest.raises(Refusal, match=r"pip install 'clipmax\[wandb\]'"):
        WeightsAndBiases("clipmax").start(trained[0])


def _none(name: str) -> None:
    raise ImportError(name)
