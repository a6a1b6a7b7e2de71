"""Predictions become arrays and data frames that hold what they hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clipmax.client import Prediction, Predictions, TopLabel

THIRD = float(np.float32(1 / 3).astype(str))
ONE = Prediction(
    label="b",
    probability=0.5,
    top=(TopLabel("b", 0.5), TopLabel("a", THIRD)),
    probabilities={"a": THIRD, "b": 0.5},
    logits={"a": -1.0, "b": 0.5},
    out_of_range=False,
    model="letters",
    version=3,
    provider="cpu",
    request_id="request-1",
    prediction_set=("b",),
    abstained=True,
)
NAMES = ["label", "probability", "label_2", "probability_2", "p(a)", "p(b)", "logit(a)", "logit(b)"]
MORE = ["prediction_set", "abstained", "out_of_range", "unknown", "truncated", "model", "version"]


def test_an_array_has_the_bits_of_the_graph() -> None:
    """JSON carries the digits that read back as the same float32."""
    found = Predictions([ONE, ONE]).to_numpy()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([[np.float32(1 / 3), 0.5]] * 2, np.float32))


def test_an_array_needs_every_label() -> None:
    """And says how to ask for them."""
    with pytest.raises(ValueError, match="probabilities=True"):
        Predictions([replace(ONE, probabilities=None)]).to_numpy()


def test_frames_have_a_row_a_prediction() -> None:
    """The same columns in both libraries."""
    predictions = Predictions([ONE, replace(ONE, label="a")])
    for frame in (predictions.to_polars(), predictions.to_pandas()):
        assert list(frame.columns) == NAMES + MORE
        assert list(frame["label"]) == ["b", "a"]
        assert list(frame["label_2"]) == ["a", "a"]
        assert list(frame["p(a)"]) == [THIRD, THIRD]


def test_what_was_not_asked_for_is_no_column() -> None:
    """Nor is anything where there are no rows."""
    bare = replace(ONE, probabilities=None, logits=None, prediction_set=None, abstained=None)
    assert Predictions([bare]).to_polars().columns == NAMES[:4] + MORE[2:]
    assert Predictions().to_polars().is_empty()
