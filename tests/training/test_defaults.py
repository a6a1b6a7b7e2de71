"""The values that a configuration leaves open."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipmax.refusal import Refusal
from tests.training import rows, tiny
from training import defaults, run_file
from training.data import sources


def test_a_value_that_is_given_is_never_replaced(tmp_path: Path) -> None:
    """Field by field, also where the section holds others."""
    run = run_file.read(rows.write(tmp_path), ["optimizer.learning_rate=0.5", "fit.patience=9"])
    filled = defaults.fill(run, sources.read(run.data))
    assert (filled.optimizer.learning_rate, filled.fit.patience) == (0.5, 9)
    assert (filled.model.hidden, filled.fit.epochs, filled.fit.batch_size) == ((16,), 4, 32)
    assert (filled.optimizer.weight_decay, filled.fit.average) == (0.05, 0.999)


def test_images_train_as_the_configuration_says(tmp_path: Path) -> None:
    """Its own defaults are those of images."""
    run, dataset = tiny.dataset(tmp_path)
    assert defaults.fill(run, dataset) == run


@pytest.mark.parametrize("rows_there", [1, 15, 100, 3_000, 30_000, 1_000_000])
def test_few_rows_get_small_batches_and_at_least_a_thousand_steps(rows_there: int) -> None:
    """A batch is never larger than the data."""
    fit = defaults.RECIPES["rows"](rows_there)["fit"]
    assert fit["batch_size"] <= min(rows_there, 256)
    assert fit["epochs"] * (rows_there // fit["batch_size"]) >= 1000
    assert fit["epochs"] >= 12


@pytest.mark.parametrize("rows_there", [1, 15, 100, 3_000, 30_000, 1_000_000])
def test_texts_get_batches_and_passes_by_their_number(rows_there: int) -> None:
    """A batch is never larger than the data, and there are at least 250 steps."""
    fit = defaults.RECIPES["text"](rows_there)["fit"]
    assert fit["batch_size"] <= min(rows_there, 256)
    assert fit["epochs"] * (rows_there // fit["batch_size"]) >= 250
    assert fit["epochs"] >= 8


def test_a_last_layer_of_many_classes_replaces_what_suits_the_input_but_not_what_is_given(tmp_path: Path) -> None:
    """Rows would train four members with averaged weights; a sampled head has one, and none averaged."""
    run = run_file.read(rows.write(tmp_path), ["head.name=sampled"])
    filled = defaults.fill(run, sources.read(run.data))
    assert (filled.model.members, filled.fit.average, filled.novelty.score) == (1, 0.0, "none")
    given = run_file.read(rows.write(tmp_path), ["head.name=sampled", "model.members=4"])
    with pytest.raises(Refusal, match=r"model\.members"):
        defaults.fill(given, sources.read(given.data))
