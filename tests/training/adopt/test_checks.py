"""A graph whose answers are not its rows' own, not finite, or not its input's, does not pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipmax.refusal import Refusal
from tests.training.adopt.examining import examine
from tests.training.adopt.graphs import LABELS, LINEAR, content, linear, model

TO_Z = (*LINEAR[:2], ["z"])


def test_answers_that_depend_on_other_rows_are_refused(tmp_path: Path) -> None:
    """A normalization over the batch, as a network in training mode has it."""
    made = model(TO_Z, ("ReduceMean", ["z"], ["mean"], {"axes": [0], "keepdims": 1}), ("Sub", ["z", "mean"], ["y"]))
    with pytest.raises(Refusal, match=r"parity|do not depend on the other rows"):
        examine(tmp_path, content(made), LABELS)


def test_answers_that_depend_on_nothing_are_refused(tmp_path: Path) -> None:
    """Whether they are logits could not even be told."""
    made = model(TO_Z, ("Mul", ["z", "zero"], ["y"]), constants={"zero": np.float32(0)})
    with pytest.raises(Refusal, match="the same for every probe"):
        examine(tmp_path, content(made), LABELS)


def test_answers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """For ordinary rows; or for none larger than a thousand."""
    with pytest.raises(Refusal, match="finite for ordinary inputs"):
        examine(tmp_path, content(model(TO_Z, ("Log", ["z"], ["y"]))), LABELS)
    large = model(TO_Z, ("Mul", ["z", "large"], ["y"]), constants={"large": np.float32(1e35)})
    with pytest.raises(Refusal, match="finite for inputs of up to 10000"):
        examine(tmp_path, content(large), LABELS)


def test_a_softmax_without_a_shift_narrows_the_range(tmp_path: Path) -> None:
    """The exponential overflows beyond 88: what such a graph can take is found by trying, or it is refused."""
    parts = [TO_Z, ("Exp", ["z"], ["e"]), ("ReduceSum", ["e", "one"], ["sum"]), ("Div", ["e", "sum"], ["y"])]
    with pytest.raises(Refusal, match="NaN or infinity"):
        examine(tmp_path, content(model(*parts, constants={"one": np.array([1])})), LABELS)


def test_a_batch_that_is_fixed_inside_is_refused(tmp_path: Path) -> None:
    """The input says 1 and so does a Reshape: only another export helps, and the message says which."""
    made = model(
        TO_Z, ("Reshape", ["z", "shape"], ["y"]), shape=(1, 4), outputs={"y": (1, 3)},
        constants={"shape": np.array([1, 3])},
    )  # fmt: skip
    with pytest.raises(Refusal, match="batch axis: expected a free one: export the model again"):
        examine(tmp_path, content(made), LABELS)


def test_a_batch_that_is_fixed_outside_only_is_made_free(tmp_path: Path) -> None:
    """And the manifest says so."""
    found = examine(tmp_path, content(linear(shape=(1, 4), outputs={"y": (1, 3)})), LABELS)
    assert "the batch axis, fixed at 1, was made free" in found.outcome.imported["changes"]  # type: ignore[operator]
    assert found.run(np.ones((9, 4)))[1].shape == (9, 3)
