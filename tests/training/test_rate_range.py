"""The learning-rate range test: what it suggests, and that it leaves nothing behind."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from clipmax.refusal import Refusal
from tests.training import rows, tiny
from training import rate_range, run_file
from training.rate_range import Trial


def test_the_suggested_rate_is_a_tenth_of_the_lowest_loss() -> None:
    """Wherever that lies."""
    trials = [Trial(1e-4, 2.0), Trial(1e-3, 1.5), Trial(1e-2, 0.5), Trial(1e-1, 3.0)]
    assert rate_range.suggest(trials) == pytest.approx(1e-3)
    assert rate_range.lines(trials)[-1] == "lowest at 1.00e-02; a tenth of it: optimizer.learning_rate = 0.001"


def test_the_rates_rise_by_one_factor_and_the_loss_falls_before_it_rises(tmp_path: Path) -> None:
    """On images that a network can learn; the same run gives the same figures."""
    run = tiny.read(tmp_path, "model.dropout=0.0")
    trials = rate_range.find(run)
    factors = [after.rate / before.rate for before, after in itertools.pairwise(trials)]
    assert factors == pytest.approx([factors[0]] * len(factors))
    assert trials[0].loss > 2 * min(trial.loss for trial in trials)
    assert 1e-4 < rate_range.suggest(trials) < 0.1
    assert rate_range.find(run) == trials


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    """As in the run itself."""
    with pytest.raises(Refusal, match=r"fit\.batch_size: expected at most"):
        rate_range.find(run_file.read(rows.write(tmp_path), ["fit.batch_size=10000"]))


def test_the_command_prints_the_table_and_writes_nothing(tmp_path: Path) -> None:
    """Neither an artifact nor a checkpoint nor an empty folder."""
    tiny.write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = tiny.train(tmp_path, "--find-rate")
    assert result.returncode == 0, result.stderr
    printed = result.stdout.splitlines()
    assert printed[0].split() == ["learning", "rate", "loss"]
    assert "optimizer.learning_rate = " in printed[-1]
    assert sorted(tmp_path.rglob("*")) == before
