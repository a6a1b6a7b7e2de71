"""Logits or probabilities is found by values and operators together, and never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipmax.refusal import Refusal
from tests.training.adopt.examining import examine
from tests.training.adopt.graphs import LABELS, LINEAR, content, linear, model
from training.adopt import scores, source
from training.metrics import log_probabilities

TO_Z = (*LINEAR[:2], ["z"])
ROWS = np.random.default_rng(1).normal(size=(64, 3)) * 3


def located(made: object, values: np.ndarray) -> scores.Answer:
    """What `y` of a graph is, given its values."""
    return scores.locate(source.read(content(made)), "y", values)  # type: ignore[arg-type]


def test_values_tell_logits_from_probabilities_and_their_logarithms() -> None:
    """Without any operator to go by."""
    logarithms = log_probabilities(ROWS)
    assert located(linear(), ROWS).scores == "logits"
    assert located(linear(), np.exp(logarithms)).scores == "probabilities"
    assert located(linear(), logarithms).scores == "log probabilities"


def test_values_that_could_be_either_are_refused() -> None:
    """Between 0 and 1, and no distribution."""
    with pytest.raises(Refusal, match="values between 0 and 1 that do not sum to 1"):
        located(linear(), np.random.default_rng(2).uniform(0.1, 0.9, (64, 3)))


def test_sigmoids_of_many_labels_are_refused() -> None:
    """They are several labels a row, which is another task."""
    with pytest.raises(Refusal, match="several labels a row"):
        located(model(TO_Z, ("Sigmoid", ["z"], ["y"])), np.random.default_rng(2).uniform(0.1, 0.9, (64, 3)))


@pytest.mark.parametrize("copies", [[], ["Identity"], ["Identity", "Identity"]])
def test_a_softmax_at_the_end_is_taken_off(copies: list[str]) -> None:
    """Behind copies too; the logits are what it was given."""
    names = ["s", *(f"c{place}" for place in range(len(copies)))]
    tail = [(copy, [names[place]], [names[place + 1]]) for place, copy in enumerate(copies)]
    last = ("Identity", [names[-1]], ["y"])
    made = model(TO_Z, ("Softmax", ["z"], ["s"]), *tail, last)
    found = located(made, np.exp(log_probabilities(ROWS)))
    assert (found.value, found.scores) == ("z", "logits")


def test_a_softmax_over_the_rows_is_found_out(tmp_path: Path) -> None:
    """A row's answer would depend on its neighbours; its values are no distribution either."""
    made = model(TO_Z, ("Softmax", ["z"], ["y"], {"axis": 0}))
    with pytest.raises(Refusal, match="do not sum to 1"):
        examine(tmp_path, content(made), LABELS)


def test_probabilities_of_zero_get_a_floor(tmp_path: Path) -> None:
    """Their logarithm stays finite, and all floors of a row together stay below a tenth of the parity."""
    made = model(TO_Z, ("Hardmax", ["z"], ["y"]))
    found = examine(tmp_path, content(made), LABELS)
    floor = found.outcome.imported["probability_floor"]
    assert isinstance(floor, float)
    assert 0 < floor * len(LABELS) <= 1e-6
    logits, probabilities = found.run(np.ones((2, 4)))
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(probabilities.max(axis=1), 1.0, atol=1e-6)


def test_one_of_several_outputs_is_asked_for(tmp_path: Path) -> None:
    """Both fit; the name decides, and an unknown one is refused."""
    made = model(LINEAR, ("Softmax", ["y"], ["p"]), outputs={"y": ("N", 3), "p": ("N", 3)})
    with pytest.raises(Refusal, match="output: expected one that fits, or its name as --output, found 'y, p'"):
        examine(tmp_path, content(made), LABELS)
    with pytest.raises(Refusal, match="output: expected one of 'y, p', found 'q'"):
        examine(tmp_path, content(made), LABELS, output="q")
    by_logits = examine(tmp_path, content(made), LABELS, output="y")
    by_softmax = examine(tmp_path, content(made), LABELS, output="p")
    rows = np.random.default_rng(3).normal(size=(5, 4))
    np.testing.assert_array_equal(by_logits.run(rows)[1], by_softmax.run(rows)[1])
