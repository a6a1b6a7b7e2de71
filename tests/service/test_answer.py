"""Arrays → predictions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clipmax.problems import Problem
from service.answer import Options, predictions
from service.engine.session import Outputs

LABELS = ("a", "b", "c", "d")
NOT_CLIPPED = np.array([False])


def outputs(*rows: list[float]) -> Outputs:
    values = np.array(rows, dtype=np.float32)
    return Outputs(logits=values, probabilities=values)


def test_equally_likely_labels_come_in_label_order() -> None:
    """Also for the one label that is named."""
    (row,) = predictions(LABELS, outputs([0.2, 0.4, 0.4, 0.0]), NOT_CLIPPED, Options(top_k=4))
    assert [top["label"] for top in row["top"]] == ["b", "c", "a", "d"]
    assert row["label"] == "b"


@pytest.mark.parametrize(("top_k", "expected"), [(1, 1), (3, 3), (4, 4), (5, 4), (10**18, 4)])
def test_top_k_above_the_labels_means_all(top_k: int, expected: int) -> None:
    """However far above."""
    (row,) = predictions(LABELS, outputs([0.1, 0.2, 0.3, 0.4]), NOT_CLIPPED, Options(top_k=top_k))
    assert len(row["top"]) == expected


def test_what_was_not_asked_for_is_not_there() -> None:
    """And what was is an object by label."""
    (bare,) = predictions(LABELS, outputs([0.1, 0.2, 0.3, 0.4]), NOT_CLIPPED, Options())
    assert set(bare) == {"label", "probability", "top", "out_of_range"}
    options = Options(probabilities=True, logits=True)
    (full,) = predictions(LABELS, outputs([0.1, 0.2, 0.3, 0.4]), NOT_CLIPPED, options)
    assert list(full["probabilities"]) == list(full["logits"]) == list(LABELS)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_result_that_is_not_finite_is_never_sent(value: float) -> None:
    """Whatever the graph does."""
    with pytest.raises(Problem, match="NON_FINITE_OUTPUT"):
        predictions(LABELS, outputs([0.1, 0.2, 0.3, value]), NOT_CLIPPED, Options())


@given(arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)))
def test_numbers_read_back_as_the_float32_that_was_computed(values: npt.NDArray[np.float32]) -> None:
    """Through JSON text and back, every bit."""
    rows = predictions(LABELS, Outputs(values, values), np.zeros(3, dtype=bool), Options(probabilities=True))
    read = orjson.loads(orjson.dumps(rows))
    back = np.array([[row["probabilities"][label] for label in LABELS] for row in read], dtype=np.float32)
    np.testing.assert_array_equal(back, values)
    for row, given_row in zip(read, values, strict=True):
        assert row["probability"] == float(given_row.max())
        assert row["label"] == LABELS[int(given_row.argmax())]
