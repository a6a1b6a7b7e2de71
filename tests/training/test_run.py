"""The command `clipmax train` from outside: killed, interrupted, out of disk, twice at once, and gone on with."""

from __future__ import annotations

import fcntl
import shutil
import signal
import subprocess
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from clipmax import manifest as manifest_module
from clipmax.manifest import MODEL_FILE
from clipmax.refusal import Refusal
from clipmax.repository import Repository, verify_files
from tests.training import tiny
from training import checkpoint, run, runtime
from training.config import Run
from training.data.dataset import Dataset
from training.loop import Progress


def _weights(version: Path) -> dict[str, bytes]:
    model = onnx.load_from_string((version / MODEL_FILE).read_bytes())
    return {each.name: numpy_helper.to_array(each).tobytes() for each in model.graph.initializer}


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=tiny.PATIENCE_SECONDS)
    return process.returncode, out, err


def test_the_command_shows_every_epoch_and_where_the_artifact_is(tmp_path: Path, artifact: Path) -> None:
    """One line an epoch, one for the test, one for the folder; nothing on stderr; the checkpoints are gone."""
    tiny.write(tmp_path)
    result = tiny.train(tmp_path, overrides=["fit.epochs=2", "model.hidden=[]"])
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "10 classes; rows: 480 train, 120 validation, 200 test; 1 threads"
    assert [line[:9] for line in lines if line.startswith("epoch")] == ["epoch   1", "epoch   2"]
    assert lines[-1] == f"published {tmp_path}/models/tiny/1"
    assert "ECE" in lines[-2]
    assert not list((tmp_path / "runs" / "tiny").glob("epoch-*"))
    assert artifact.is_dir()


def test_a_killed_run_goes_on_to_the_same_weights(artifact: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch, then --resume: bit for bit the artifact of the run that nobody killed."""
    tiny.write(tmp_path)
    with tiny.start(tmp_path) as process:
        tiny.read_until(process, "epoch   2")
        process.kill()
        assert _end(process)[0] == -signal.SIGKILL
    assert Repository(tmp_path / "models").names() == []
    resumed = tiny.train(tmp_path, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after epoch" in resumed.stdout
    version = tmp_path / "models" / "tiny" / "1"
    assert _weights(version) == _weights(artifact)
    mine, other = manifest_module.load(version), manifest_module.load(artifact)
    assert (mine.temperature, mine.golden, mine.metrics) == (other.temperature, other.golden, other.metrics)


def test_an_interrupted_run_says_how_to_go_on(artifact: Path, tmp_path: Path) -> None:
    """Ctrl-C: exit code 130, one line on stderr with the whole command, and that command ends with the same weights."""
    tiny.write(tmp_path)
    with tiny.start(tmp_path) as process:
        tiny.read_until(process, "epoch   1")
        process.send_signal(signal.SIGINT)
        code, _, err = _end(process)
    assert code == 130
    (line,) = err.splitlines()
    assert line.startswith("clipmax: interrupted; go on with: clipmax train ")
    assert f"--set=models={tmp_path}/models" in line
    assert line.endswith("--resume")
    assert tiny.train(tmp_path, "--resume").returncode == 0
    assert _weights(tmp_path / "models" / "tiny" / "1") == _weights(artifact)


def _checkpointed(trained: tuple[Run, Dataset, Progress], folder: Path) -> None:
    """As if a run had been killed after its last epoch: what is left to do is to export."""
    tiny.write(folder)
    settings, dataset, progress = trained
    runtime.prepare(settings.threads)
    here = tiny.read(folder)
    checkpoint.save(folder / "runs" / "tiny", progress, here, dataset.fingerprint())


def test_a_full_disk_while_exporting_loses_nothing(
    trained: tuple[Run, Dataset, Progress], artifact: Path, tmp_path: Path
) -> None:
    """Exit code 1, one line, no temporary folder, the version before untouched; with room it goes on from there."""
    _checkpointed(trained, tmp_path)
    shutil.copytree(artifact, tmp_path / "models" / "tiny" / "1")
    before = _snapshot(tmp_path / "models" / "tiny" / "1")
    failed = subprocess.run(
        ["sh", "-c", 'ulimit -f 8 && exec "$@"', "sh", *tiny.arguments(tmp_path, "--resume")],
        capture_output=True,
        text=True,
        timeout=tiny.PATIENCE_SECONDS,
        check=False,
    )
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    models = tmp_path / "models"
    assert line == f"clipmax: {models}: models: expected room and leave to write a version, found File too large"
    assert {path.name for path in (tmp_path / "models" / "tiny").iterdir()} == {"1", ".lock"}
    assert _snapshot(tmp_path / "models" / "tiny" / "1") == before

    assert tiny.train(tmp_path, "--resume").returncode == 0
    second = tmp_path / "models" / "tiny" / "2"
    verify_files(second, manifest_module.load(second))
    assert _weights(second) == _weights(artifact)
    assert _snapshot(tmp_path / "models" / "tiny" / "1") == before


def test_two_runs_of_one_name_at_once_are_refused(tmp_path: Path) -> None:
    """They would overwrite each other's checkpoints; the one that was first goes on."""
    settings = tiny.read(tmp_path)
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Refusal, match="lock: expected no other run of this name, found one in progress"):
            run.train(settings)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fit.batch_size=481", "fit.batch_size: expected at most the 480 training rows, found 481"),
        ("data.validation=0.001", "validation: expected rows of class 0 on both sides of validation = 0.001"),
    ],
)
def test_a_configuration_that_cannot_work_costs_no_checkpoint(
    override: str, message: str, trained: tuple[Run, Dataset, Progress], tmp_path: Path
) -> None:
    """Refused before an earlier run's checkpoints are removed."""
    _checkpointed(trained, tmp_path)
    with pytest.raises(Refusal) as caught:
        run.train(tiny.read(tmp_path, override))
    assert message in str(caught.value)
    assert (tmp_path / "runs" / "tiny" / "epoch-6").is_dir()


def test_a_refusal_is_one_line_and_exit_code_one(tmp_path: Path) -> None:
    """From the real command, without a trace."""
    tiny.write(tmp_path)
    result = tiny.train(tmp_path, overrides=["fit.epoch=3"])
    expected = f"clipmax: {tmp_path}/run.toml: fit.epoch: expected a known key (fit.epochs?), found an unknown one\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", expected)


def test_encoders_are_fitted_on_the_training_split_alone(trained: tuple[Run, Dataset, Progress]) -> None:
    """Their mean is that of the training rows, not of all rows."""
    _, dataset, progress = trained
    (mean,) = (value for name, value in progress.model.state_dict().items() if name.endswith("mean"))
    assert mean.item() == pytest.approx(dataset.train.columns["image"].mean(), rel=1e-6)
    assert mean.item() != pytest.approx(dataset.validation.columns["image"].mean(), rel=1e-6)
