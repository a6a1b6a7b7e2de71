"""What is saved is enough to end with the same weights, bit for bit, and nothing broken is gone on from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from clipmax.refusal import Refusal
from tests.training import tiny
from training import checkpoint, loop, run
from training.config import Run
from training.data.dataset import Dataset
from training.loop import Progress


class _Stopped(Exception):
    pass


def _fit(settings: Run, dataset: Dataset, progress: Progress, folder: Path, *, stop_after: int | None = None) -> None:
    """Train with a checkpoint an epoch; ends after some epochs as a kill would."""

    def on_epoch(now: Progress) -> None:
        checkpoint.save(folder, now, settings, dataset.fingerprint())
        if len(now.epochs) == stop_after:
            raise _Stopped

    loop.fit(progress, settings, dataset, on_epoch=on_epoch)


def _stopped(settings: Run, dataset: Dataset, folder: Path, epochs: int = 2) -> None:
    with pytest.raises(_Stopped):
        _fit(settings, dataset, run.start(settings, dataset), folder, stop_after=epochs)


def _resumed(settings: Run, dataset: Dataset, folder: Path) -> tuple[int, Progress]:
    torch.manual_seed(12345)  # whatever happened before in the new process
    progress = run.start(settings, dataset)
    return checkpoint.load_newest(folder, progress, settings, dataset.fingerprint()), progress


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer.name=sgd", "optimizer.learning_rate=0.1"],
        ["optimizer.name=sgd", "optimizer.momentum=0.9", "clipping.rule=zclip", "clipping.limit=2.5"],
        ["optimizer.name=adam", "clipping.rule=autoclip", "clipping.limit=10.0"],
        ["optimizer.name=adamw", "clipping.rule=value", "clipping.limit=0.01"],
        ["schedule.name=cosine", "clipping.rule=zclip", "clipping.limit=2.5"],
    ],
    ids=" ".join,
)
def test_a_resumed_run_ends_with_the_same_weights(overrides: list[str], tmp_path: Path) -> None:
    """Optimizer, norm history, order, augmentation, dropout and the best epoch all go on where they were."""
    settings, dataset = tiny.dataset(tmp_path, *overrides)
    whole = run.start(settings, dataset)
    loop.fit(whole, settings, dataset)
    folder = tmp_path / "checkpoints"
    _stopped(settings, dataset, folder, epochs=3)
    epoch, progress = _resumed(settings, dataset, folder)
    assert epoch == 3
    _fit(settings, dataset, progress, folder)
    assert _same(progress.model.state_dict(), whole.model.state_dict())
    assert _same(progress.best_weights, whole.best_weights)
    assert progress.best_epoch == whole.best_epoch
    assert progress.norms.state_dict() == whole.norms.state_dict()
    figures = [[(e.epoch, e.loss, e.validation_log_loss, e.grad_norm_max) for e in p.epochs] for p in (progress, whole)]
    assert figures[0] == figures[1]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    """Bit for bit, twice in a row in one process."""
    states = []
    for seed in (1, 1, 2):
        settings, dataset = tiny.dataset(tmp_path, f"seed={seed}")
        progress = run.start(settings, dataset)
        loop.fit(progress, settings, dataset)
        states.append(progress.model.state_dict())
    assert _same(states[0], states[1])
    assert not _same(states[0], states[2])


def test_only_the_newest_checkpoint_stays(tmp_path: Path) -> None:
    """And nothing beside it, whatever a kill left there earlier."""
    settings, dataset = tiny.dataset(tmp_path)
    folder = tmp_path / "checkpoints"
    (folder / ".publishing-epoch-1-0123abcd").mkdir(parents=True)
    checkpoint.remove(folder)
    _stopped(settings, dataset, folder, epochs=4)
    assert [entry.name for entry in folder.iterdir()] == ["epoch-4"]
    checkpoint.remove(folder)
    assert not list(folder.iterdir())


def test_without_a_checkpoint_a_run_starts_at_its_beginning(tmp_path: Path) -> None:
    """Temporary folders are none."""
    settings, dataset = tiny.dataset(tmp_path)
    folder = tmp_path / "checkpoints"
    (folder / ".publishing-epoch-9-0123abcd").mkdir(parents=True)
    epoch, progress = _resumed(settings, dataset, folder)
    assert (epoch, progress.epochs) == (0, [])


@pytest.mark.parametrize(
    ("override", "expected", "found"),
    [
        ("fit.epochs=7", "6 as before", "7"),
        ("optimizer.learning_rate=0.5", "0.003 as before", "0.5"),
        ("seed=4", "3 as before", "4"),
        ("model.hidden=[24, 13]", "[24, 12] as before", "[24, 13]"),
        ("clipping.rule=value", "'norm' as before", "'value'"),
    ],
)
def test_another_configuration_is_refused(override: str, expected: str, found: str, tmp_path: Path) -> None:
    """By its key: the end would be neither the one run nor the other."""
    settings, dataset = tiny.dataset(tmp_path)
    folder = tmp_path / "checkpoints"
    _stopped(settings, dataset, folder, epochs=1)
    with pytest.raises(Refusal) as caught:
        _resumed(tiny.read(tmp_path, override), dataset, folder)
    refusal = caught.value
    assert refusal.where == str(folder / "epoch-1")
    assert (refusal.field, refusal.expected, refusal.found) == (override.partition("=")[0], expected, found)


def test_other_folders_for_models_and_runs_are_no_other_configuration(tmp_path: Path) -> None:
    """A run may be resumed into another models folder."""
    settings, dataset = tiny.dataset(tmp_path)
    folder = tmp_path / "checkpoints"
    _stopped(settings, dataset, folder, epochs=1)
    elsewhere = tiny.read(tmp_path, "models=elsewhere", "runs=elsewhere")
    assert _resumed(elsewhere, dataset, folder)[0] == 1


def test_other_data_is_refused(tmp_path: Path) -> None:
    """Even under the same file names."""
    settings, dataset = tiny.dataset(tmp_path)
    folder = tmp_path / "checkpoints"
    _stopped(settings, dataset, folder, epochs=1)
    with pytest.raises(Refusal, match="data: expected the same data as before"):
        checkpoint.load_newest(folder, run.start(settings, dataset), settings, "0" * 64)


def test_another_number_of_threads_is_refused(tmp_path: Path) -> None:
    """Sums would be made in another order, and end with other weights."""
    settings, dataset = tiny.dataset(tmp_path)
    folder = tmp_path / "checkpoints"
    _stopped(settings, dataset, folder, epochs=1)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.raises(Refusal, match=rf"threads: expected {before} as before, found {before + 1}"):
            _resumed(settings, dataset, folder)
    finally:
        torch.set_num_threads(before)


def test_a_checkpoint_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    """With the place and the reason: going on would be a run that cannot be resumed."""
    settings, dataset = tiny.dataset(tmp_path)
    (tmp_path / "checkpoints").touch()
    with pytest.raises(Refusal, match=r"epoch-1: checkpoint: expected room and leave to write it, found Not a dir"):
        _stopped(settings, dataset, tmp_path / "checkpoints", epochs=1)


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json"])
def test_a_broken_checkpoint_is_refused(file: str, tmp_path: Path) -> None:
    """A flipped bit anywhere, a cut, a missing file: never other weights in silence."""
    settings, dataset = tiny.dataset(tmp_path)
    folder = tmp_path / "checkpoints"
    _stopped(settings, dataset, folder, epochs=1)
    path = folder / "epoch-1" / file
    intact, random = path.read_bytes(), np.random.default_rng(0)
    for place in [0, 1, 70, len(intact) - 2, *random.integers(0, len(intact) - 1, 20).tolist()]:
        flipped = intact[place] ^ (1 << int(random.integers(8)))
        path.write_bytes(intact[:place] + bytes([flipped]) + intact[place + 1 :])
        with pytest.raises(Refusal):
            _resumed(settings, dataset, folder)
    path.write_bytes(intact[: len(intact) // 2])
    with pytest.raises(Refusal, match="sha256"):
        _resumed(settings, dataset, folder)
    path.unlink()
    with pytest.raises(Refusal, match="expected a whole checkpoint"):
        _resumed(settings, dataset, folder)
    path.write_bytes(intact)
    assert _resumed(settings, dataset, folder)[0] == 1
