"""What a run survives and what it names: killed, out of disk, and with a NaN put into it, counted.

    OMP_NUM_THREADS=1 python bench/faults/run.py [--kills 20] [--non-finite 100] [--disks 20] [--seed 0]

On 600 digits of scikit-learn. Each run is a child process that is really killed: a fork of this one after a whole run,
so the moments are those of training and export, not of imports. The plots of the report are drawn in that run only.
Prints each case as it goes and one line a part; exits 1 where one case of one part is not as it must be. `--part` runs
one of them alone.

kills        SIGKILL at a random moment of a run, its export included, or after a random epoch; `--resume` must end with
             the same weights, metrics and golden examples as the run that nobody killed.
exports      SIGKILL before each file operation of an export, one after the other: nothing loadable may be left, or,
             where only the sync after the rename is missing, the whole version.
disks        an export whose files may not grow above a random size: the same, and the next try must succeed.
non-finite   a NaN in a random element at a random step, in turn in data, labels, weights and gradients: step and tensor
             must be named (of a label, which never gets as far as a step, file and row), and nothing be exported.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from clipmax import cli, manifest, repository
from clipmax.manifest import MODEL_FILE, Manifest
from clipmax.refusal import Refusal
from clipmax.repository import Repository
from tests.training import tiny
from training import loop, run, run_file
from training.loop import Progress
from training.report import plots
from training.report.figures import Report
from training.run import Ready
from training.weights import Weights

EPOCHS = 24
PATIENCE_SECONDS = 60.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--disks", type=int, default=20)
    parser.add_argument("--non-finite", type=int, default=100)
    parser.add_argument("--exports", type=int, default=1000, help="file operations at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=list(PARTS), action="append")
    arguments = parser.parse_args()
    _warm_up()
    failed = False
    for name in arguments.part or PARTS:
        random.seed(arguments.seed)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            good, cases, what = PARTS[name](Path(folder), getattr(arguments, name.replace("-", "_")))
            print(f"{name}: {good} of {cases} {what} ({time.perf_counter() - started:.0f} s)", flush=True)
        failed |= good < cases
    sys.exit(int(failed))


def kills(folder: Path, count: int) -> tuple[int, int, str]:
    """In turn at a random moment of the time that a whole run takes, and soon after a random epoch's checkpoint."""
    tiny.write(folder)
    started = time.perf_counter()
    assert _wait(_train(folder / "whole")) == 0
    seconds = time.perf_counter() - started
    expected = _artifact(folder / "whole")
    good, reached = 0, collections.Counter[str]()
    for number in range(count):
        place = folder / str(number)
        child = _train(place)
        if number % 2:
            _await_checkpoint(place, random.randrange(1, EPOCHS))
        else:
            time.sleep(random.uniform(0.0, seconds))
        os.kill(child, signal.SIGKILL)
        was_complete = _wait(child) == 0
        moment = "after the end" if was_complete else _reached(place)
        reached[moment] += 1
        same = (was_complete or _wait(_train(place, "--resume")) == 0) and _artifact(place) == expected
        _tell(f"kill {number}", same, moment)
        good += same
        shutil.rmtree(place, ignore_errors=True)
    return good, count, "ended with the same weights; " + ", ".join(f"{reached[key]} {key}" for key in sorted(reached))


def _await_checkpoint(place: Path, epoch: int) -> None:
    """Until it is there, and a random part of the epoch after it; a newer one does as well."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _newest(place) < epoch and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(random.uniform(0.0, 0.05))


def _newest(place: Path) -> int:
    """The epoch of the newest checkpoint, 0 without one."""
    found = (place / "runs" / "tiny").glob("epoch-*")
    return max((int(path.name.removeprefix("epoch-")) for path in found), default=0)


def _reached(place: Path) -> str:
    """Where a killed run was; its checkpoints go only when its version is published."""
    if _versions(place):
        return "after publishing"
    newest = _newest(place)
    if newest == 0:
        return "before the first checkpoint"
    return "in the export" if newest == EPOCHS else "between the first and the last checkpoint"


def exports(folder: Path, most: int) -> tuple[int, int, str]:
    """Before the first, second, … file operation, until an export has no more."""
    _checkpointed(folder)
    place, good, whole = folder / "place", 0, 0
    for number in range(most):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder / "ready", place)
        code = _wait(_child(lambda number=number: _resume_killed(place, number)))
        if code == 0:  # none is left: this one was whole
            return good, number, f"kills of an export left nothing to load; {whole}, after the rename, a whole version"
        left = len(_versions(place))
        whole += left
        clean = code == -signal.SIGKILL and whole <= 1
        _tell(f"export {number}", clean, f"ended with {code}, versions left: {left}")
        good += clean
    assert _wait(_train(place, "--resume")) == 0
    return good if len(_versions(place)) == 1 else 0, most, "first kills of an export left nothing to load"


def disks(folder: Path, count: int) -> tuple[int, int, str]:
    """Files may grow to a random size below that of the largest file of a version."""
    _checkpointed(folder)
    largest = max(path.stat().st_size for path in (folder / "ready" / "done" / "tiny" / "1").iterdir())
    good = 0
    for number in range(count):
        place = folder / str(number)
        shutil.copytree(folder / "ready", place)
        size = random.randrange(largest)
        failed = _wait(_child(lambda place=place, size=size: _resume_limited(place, size))) == 1
        clean = not _versions(place) and not list((place / "models" / "tiny").glob(".publishing-*"))
        again = _wait(_train(place, "--resume")) == 0 and len(_versions(place)) == 1
        _tell(f"disk {number}", failed and clean and again, f"{size} bytes: {failed=}, {clean=}, {again=}")
        good += failed and clean and again
        shutil.rmtree(place)
    return good, count, "exports on a full disk left nothing, and the next try was whole"


def non_finite(folder: Path, count: int) -> tuple[int, int, str]:
    """Data, labels, weights and gradients in turn."""
    tiny.write(folder)
    ready = run.read(run_file.read(folder / "run.toml", [*tiny.places(folder), f"fit.epochs={EPOCHS}"]))
    puts = (_put_into_data, _put_into_labels, _put_into_weights, _put_into_gradients)
    good = sum(puts[number % len(puts)](ready, folder) for number in range(count))
    good -= bool(_versions(folder))
    return good, count, "NaN were named, none exported"


PARTS: dict[str, Callable[[Path, int], tuple[int, int, str]]] = {
    "kills": kills, "exports": exports, "disks": disks, "non-finite": non_finite,
}  # fmt: skip


def _put_into_data(ready: Ready, _folder: Path) -> bool:
    """As no reader would let it through: the step that meets the row, and the gradient that it spoils first."""
    train = ready.dataset.train
    images = train.columns["image"].astype(np.float32)
    row = random.randrange(len(train))
    images[row, random.randrange(8), random.randrange(8)] = np.nan
    poisoned = replace(ready, dataset=replace(ready.dataset, train=replace(train, columns={"image": images})))
    said = _train_until_refused(poisoned, lambda _progress, _step: None)
    return said is not None and said[0] == said[1] and said[2].startswith("gradient of mlp.0.weight")


def _put_into_labels(_ready: Ready, folder: Path) -> bool:
    """In a file of class numbers, which can hold a NaN only as floats."""
    images, labels, test_images, test_labels = tiny.arrays()
    row = random.randrange(len(labels))
    spoiled = labels.astype(np.float32)
    spoiled[row] = np.nan
    np.savez(folder / "spoiled.npz", x_train=images, y_train=spoiled, x_test=test_images, y_test=test_labels)
    (folder / "spoiled.toml").write_text('name = "tiny"\n[data]\nsource = "npz"\nfile = "spoiled.npz"\n')
    try:
        run.train(run_file.read(folder / "spoiled.toml", tiny.places(folder)), say=lambda _: None)
    except Refusal as refusal:
        return refusal.field == f"label of row {row}" and "spoiled.npz" in refusal.where
    return False


def _put_into_weights(ready: Ready, _folder: Path) -> bool:
    """After a random step: the next one names it, or the end of the epoch."""
    names: list[str] = []

    def put(progress: Progress, step: int) -> None:
        if step == at:
            name, weight = random.choice(list(progress.model.named_parameters()))
            names.append(name)
            with torch.no_grad():
                weight.view(-1)[random.randrange(weight.numel())] = torch.nan

    at = random.randrange(_steps(ready))
    said = _train_until_refused(ready, put)
    if said is None:
        return False
    is_at_an_end = (at + 1) % loop.steps_per_epoch(ready.run, ready.dataset) == 0
    return said[0] == (at if is_at_an_end else at + 1) and said[2].startswith(f"weight {names[0]} ")


def _put_into_gradients(ready: Ready, _folder: Path) -> bool:
    """Between backward and clip of a random step."""
    names: list[str] = []
    at = random.randrange(_steps(ready))

    def put(progress: Progress, step: int) -> None:
        if step == -1:
            _spoil(progress, at, names)

    said = _train_until_refused(ready, put)
    return said is not None and said[0] == at and said[2].startswith(f"gradient of {names[0]} ")


def _spoil(progress: Progress, at: int, names: list[str]) -> None:
    gradients, steps = progress.gradients, iter(range(at, -1, -1))
    fill = gradients.fill

    def spoiling(*arguments: object) -> torch.Tensor:
        loss = fill(*arguments)
        if next(steps) == 0:
            name, weight = random.choice(list(progress.model.named_parameters()))
            names.append(name)
            weight.grad.view(-1)[random.randrange(weight.numel())] = torch.nan
        return loss

    gradients.fill = spoiling


def _train_until_refused(ready: Ready, put: Callable[[Progress, int], None]) -> tuple[int, int, str] | None:
    """(step that the refusal names, steps that were done, tensor that it names), None where nothing was refused.

    `put` is called before the first step with -1, then after every step with its number.
    """
    progress, dataset = run.begin(ready)
    done = 0

    def on_step() -> None:
        nonlocal done
        put(progress, done)
        done += 1

    put(progress, -1)
    try:
        loop.fit(progress, ready.run, dataset, on_step=on_step)
        run.finish(ready.run, dataset, ready.fingerprint, progress)
    except Refusal as refusal:
        step = re.search(r"step (\d+)", str(refusal))
        tensor = re.search(r"(weight|gradient of) [\w.]+ \(norm nan\)", str(refusal))
        return (int(step[1]), done, tensor[0]) if step and tensor else None
    return None


def _steps(ready: Ready) -> int:
    return loop.steps_per_epoch(ready.run, ready.dataset) * ready.run.fit.epochs


def _warm_up() -> None:
    """A whole run here, silent: what it imports, compiles and draws, its children have."""
    draw = plots.draw

    def draw_once(report: Report) -> dict[str, str]:
        drawn = draw(report)
        plots.draw = lambda _: drawn
        return drawn

    plots.draw = draw_once
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        tiny.write(Path(folder))
        assert cli.main(_arguments(Path(folder) / "warm")) == 0


def _train(place: Path, *flags: str) -> int:
    """`clipmax train` in a child process; returns its process id."""
    return _child(lambda: cli.main(_arguments(place, *flags)))


def _arguments(place: Path, *flags: str) -> list[str]:
    """Models and checkpoints in `place`, the data beside it, because a checkpoint belongs to its data."""
    settings = (part for one in [*tiny.places(place), f"fit.epochs={EPOCHS}"] for part in ("--set", one))
    return ["train", str(place.parent / "run.toml"), *settings, *flags]


def _child(work: Callable[[], int]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        code = work()
    finally:
        os._exit(code)


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _checkpointed(folder: Path) -> None:
    """A run in `folder/ready` that has nothing left to do but to export, and what it will export under `done`."""
    tiny.write(folder)
    ready = folder / "ready"
    assert _wait(_child(lambda: _train_killed_at_export(ready))) == -signal.SIGKILL
    shutil.copytree(ready, folder / "copy")
    assert _wait(_train(folder / "copy", "--resume")) == 0
    shutil.move(folder / "copy" / "models", ready / "done")
    assert not _versions(ready)


def _train_killed_at_export(place: Path) -> int:
    run.export.publish = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    return cli.main(_arguments(place))


def _resume_killed(place: Path, number: int) -> int:
    """Go on, and kill this process before file operation `number` of publishing."""
    operations = iter(range(number, -1, -1))

    def before(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **named: object) -> object:
            if any("models" in str(argument) for argument in arguments) and next(operations) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        counted.__name__ = name
        return counted

    disk = [*((Path, name) for name in ("write_bytes", "mkdir", "rename")), (repository, "_sync")]
    for place_of, name in disk:
        setattr(place_of, name, before(name, getattr(place_of, name)))
    return cli.main(_arguments(place, "--resume"))


def _resume_limited(place: Path, size: int) -> int:
    """Go on where no file may grow above `size` bytes: a write behind it fails, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return cli.main(_arguments(place, "--resume"))


def _tell(case: str, is_good: bool, found: str) -> None:
    print(f"  {case}: {'as it must be' if is_good else 'NOT as it must be'} ({found})", file=sys.stderr, flush=True)


def _versions(place: Path) -> list[Manifest]:
    """Every version that can be loaded; one that is there and cannot be loaded ends the bench."""
    found = Repository(place / "models")
    folders = [found.folder(name, version) for name in found.names() for version in found.versions(name)]
    manifests = [manifest.load(folder) for folder in folders]
    for folder, each in zip(folders, manifests, strict=True):
        repository.verify_files(folder, each)
    return manifests


def _artifact(place: Path) -> dict[str, object]:
    """What must be the same bit for bit."""
    (found,) = _versions(place)
    graph = (place / "models" / "tiny" / "1" / MODEL_FILE).read_bytes()
    weights = Weights.read(graph, where=place).tensors
    return {
        "weights": {name: value.numpy().tobytes() for name, value in weights.items()},
        "temperature": found.temperature,
        "metrics": found.metrics,
        "golden": found.golden,
    }


if __name__ == "__main__":
    main()
