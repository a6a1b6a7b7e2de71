"""A search from outside and inside: what it may see, what it leaves behind when it is killed, what it publishes."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clipmax import cli
from clipmax import manifest as manifest_module
from clipmax.manifest import MODEL_FILE
from clipmax.refusal import Refusal
from tests.training import tiny
from training import loop, run, run_file
from training.config import Run
from training.data.dataset import Split
from training.history import History
from training.run import Ready
from training.search import journal, trials
from training.search.space import apply
from training.weights import Weights

QUICK = ("fit.epochs=3", "images.augmentation.rotation_degrees=0", "images.augmentation.shift=0")


def _settings(folder: Path, *overrides: str) -> Run:
    return tiny.read(folder, *QUICK, *overrides)


def _search(ready: Ready, count: int) -> History:
    (ready.run.runs / ready.run.name).mkdir(parents=True, exist_ok=True)
    return trials.search(ready, trials=count, say=lambda _: None)


def _comparable(history: History) -> list[dict[str, object]]:
    return [trial.model_dump() for trial in history.trials]


def _poisoned(split: Split) -> Split:
    """Noise under other labels."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, split.columns["image"].shape).astype(np.uint8)
    return Split({"image": images}, random.permutation(split.labels))


def test_the_test_split_is_never_seen(tmp_path: Path) -> None:
    """Poisoned or not, every trial comes out bit for bit the same; in a trial there are no test rows at all."""
    ready = run.read(_settings(tmp_path))
    expected = _search(ready, 5)
    (tmp_path / "runs" / "tiny" / trials.JOURNAL_FILE).unlink()
    poisoned = replace(ready, dataset=replace(ready.dataset, test=_poisoned(ready.dataset.test)))
    assert _comparable(_search(poisoned, 5)) == _comparable(expected)
    assert len(trials.without_test(ready).dataset.test) == 0


def test_a_search_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Trials of two starts are those of one; a smaller number of trials than there are begins none."""
    ready = run.read(_settings(tmp_path))
    _search(ready, 2)
    (half := tmp_path / "whole").mkdir()
    whole = _search(replace(ready, run=ready.run.model_copy(update={"runs": half})), 4)
    assert _comparable(_search(ready, 4)) == _comparable(whole)
    assert len(_search(ready, 1).trials) == 4


def test_other_data_or_another_configuration_is_refused(tmp_path: Path) -> None:
    """Their trials could not be compared; threads and folders may change."""
    ready = run.read(_settings(tmp_path))
    _search(ready, 1)
    _search(replace(ready, run=ready.run.model_copy(update={"threads": 2})), 1)
    other = run.read(_settings(tmp_path, "fit.batch_size=16"))
    with pytest.raises(Refusal, match=r"tune\.journal: journal: expected the same configuration and data as before"):
        _search(other, 2)


def test_a_trial_that_diverges_fails_and_the_search_goes_on(tmp_path: Path) -> None:
    """With the reason; a search of nothing but such trials says so."""
    wild = ["optimizer.name=sgd", "clipping.rule=none", "tune.learning_rate=[1e30, 1e31]"]
    ready = run.read(_settings(tmp_path, *wild))
    history = _search(ready, 3)
    assert [trial.state for trial in history.trials] == ["completed", "failed", "failed"]
    assert "finite" in (history.trials[1].reason or "")
    hopeless = run.read(_settings(tmp_path, *wild, "optimizer.learning_rate=1e30", "name=hopeless"))
    with pytest.raises(Refusal, match="trials: expected one that comes to its end, found 2 that failed; the first"):
        _search(hopeless, 2)


def test_no_trial_is_begun_after_the_time(tmp_path: Path) -> None:
    """None at all where there is none."""
    ready = run.read(_settings(tmp_path))
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    with pytest.raises(Refusal, match="found 0 trials"):
        trials.search(ready, trials=3, minutes=1e-9, say=lambda _: None)


def test_an_interrupted_trial_is_left_and_does_not_count(tmp_path: Path) -> None:
    """Ctrl-C within a trial: it is marked failed, and the next start makes up for it."""
    ready = run.read(_settings(tmp_path))
    (tmp_path / "runs" / "tiny").mkdir(parents=True)

    def say(line: str) -> None:
        if line.startswith("trial   0"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trials.search(ready, trials=2, say=say)
    history = _search(ready, 2)
    assert len(history.trials) == 2


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_trials_that_are_behind_are_pruned(pruner: str, tmp_path: Path) -> None:
    """Far too small rates are given up before their last epoch."""
    space = ["tune.learning_rate=[1e-7, 1e-2]", f"tune.pruner={pruner}", "fit.epochs=9", "data.validation=0.5"]
    ready = run.read(_settings(tmp_path, *space, "model.hidden=[8]", "fit.batch_size=64"))
    history = _search(ready, 12)
    pruned = [trial for trial in history.trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.epochs < 9 and trial.value is None for trial in pruned)
    assert history.count("completed") + len(pruned) == 12


def _command(folder: Path, *flags: str) -> list[str]:
    settings = [part for one in [*tiny.places(folder), *QUICK] for part in ("--set", one)]
    return [*tiny.CLIPMAX, "tune", str(folder / "run.toml"), *settings, *flags]


def _start(command: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_a_killed_search_goes_on_and_publishes_the_winner(tmp_path: Path) -> None:
    """SIGKILL within a trial, half a line in the journal: the next start marks it failed and ends the search.

    The artifact is what `clipmax train` makes of the winner's parameters alone.
    """
    tiny.write(tmp_path)
    with _start(_command(tmp_path, "--trials", "500")) as process:
        tiny.read_until(process, "trial   1")
        process.kill()
    file = tmp_path / "runs" / "tiny" / trials.JOURNAL_FILE
    content = file.read_bytes()
    begun = content.index(b"\n", content.rindex(b'{"op_code":4'))  # the last line that begins a trial
    file.write_bytes(content[: begun + 1] + b'{"op_code":5,"wor')
    with _start(_command(tmp_path, "--trials", "3")) as process:
        out, err = process.communicate(timeout=tiny.PATIENCE_SECONDS)
    assert process.returncode == 0, err
    assert out.splitlines()[-1] == f"published {tmp_path}/models/tiny/1"
    version = tmp_path / "models" / "tiny" / "1"
    search = manifest_module.load(version).search
    assert search is not None
    assert (search.completed + search.pruned, search.failed) == (search.trials - 1, 1)
    assert search.trials >= 4
    assert search.seed == 3
    assert 'id="search"' in (version / "report.html").read_text(encoding="utf-8")

    again = tmp_path / "again"
    ready = run.read(tiny.read(again, *QUICK))
    ready = run.read(apply(ready.run, search.parameters))
    progress, dataset = run.begin(ready)
    loop.fit(progress, ready.run, dataset)
    published = Weights.read((version / MODEL_FILE).read_bytes(), where=version)
    for name, value in progress.best_weights.items():
        assert torch.equal(published.take(name), value), name


def test_two_searches_of_one_name_at_once_are_refused(tmp_path: Path) -> None:
    """As two runs are."""
    settings = _settings(tmp_path)
    with run.alone(settings.runs / settings.name), pytest.raises(Refusal, match="found one in progress"):
        trials.tune(settings, trials=1, say=lambda _: None)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    """And left as it is."""
    ready = run.read(_settings(tmp_path))
    path = tmp_path / "tune.journal"
    path.write_text("no journal\n", encoding="utf-8")
    with pytest.raises(Refusal, match="journal: expected the journal of a search"):
        journal.open_study(path, of="x", settings=ready.run.tune, epochs=3)
    assert path.read_text(encoding="utf-8") == "no journal\n"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tune.dropout=[0.5, 0.1]", r"tune\.dropout: expected the lowest value before the highest"),
        ("tune.learning_rate=[0.0, 0.1]", r"tune\.learning_rate\.0: expected greater than 0"),
        ("tune.depth=[1, 2]", r"tune\.depth: expected a known key"),
    ],
)
def test_a_space_is_checked_like_the_rest(override: str, message: str, tmp_path: Path) -> None:
    """By key, with what was expected."""
    path = tiny.write(tmp_path)
    with pytest.raises(Refusal, match=message):
        run_file.read(path, [override])


@pytest.mark.parametrize(
    "arguments",
    [
        ["tune", "run.toml"],
        ["tune", "run.toml", "--trials", "0"],
        ["tune", "run.toml", "--trials", "3", "--minutes", "inf"],
        ["train", "--init", "data.csv", "--label", "x", "--from", "models/x/1"],
    ],
)
def test_wrong_usage_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is read."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: clipmax" in capsys.readouterr().err
