"""A score and those of calibration rows → its p-value."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from clipmax import conformal
from clipmax.novelty import Novelty, p_values

SCORES = arrays(np.float32, st.integers(1, 3000), elements=st.floats(0, 2, width=16))


def table(scores: np.ndarray) -> Novelty:
    ordered = np.sort(scores.astype(np.float64))
    kept = conformal.kept_ranks(len(ordered)) - 1
    return Novelty(score="hidden", rows=len(ordered), values=tuple(ordered[kept].tolist()))


@given(scores=SCORES, asked=arrays(np.float32, 20, elements=st.floats(-1, 3, width=16)))
def test_a_p_value_counts_the_calibration_rows_that_are_as_novel(scores: np.ndarray, asked: np.ndarray) -> None:
    """Exactly where every value is kept, and where fewer rows are as novel; else up to 0.2 points above."""
    found = p_values(table(scores), asked)
    as_novel = (scores[None, :] >= asked[:, None]).sum(axis=1)
    exact = (1 + as_novel) / (1 + len(scores))
    assert (found >= exact - 1e-12).all()
    assert (found <= exact + 0.002 + 1e-12).all()
    few = (as_novel < 500) | (len(scores) <= conformal.TABLE_SIZE)
    assert np.allclose(found[few], exact[few], rtol=0, atol=1e-12)


@given(scores=SCORES)
def test_a_higher_score_never_has_a_higher_p_value(scores: np.ndarray) -> None:
    """And all lie above 0, up to 1."""
    found = p_values(table(scores), np.linspace(-1, 3, 50, dtype=np.float32))
    assert (np.diff(found) <= 0).all()
    assert found.min() == 1 / (1 + len(scores))
    assert found.max() == 1


def test_rows_like_the_calibration_rows_seldom_have_a_small_p_value() -> None:
    """At most 5 of 100 a p-value of 0.05, on average over the calibration rows' draw."""
    generator = np.random.default_rng(0)
    flagged = [
        (p_values(table(scores[:99]), scores[99:]) <= 0.05).mean()
        for scores in generator.normal(size=(400, 300)).astype(np.float32)
    ]
    assert np.mean(flagged) == pytest.approx(0.05, abs=0.004)


def test_the_json_of_a_table_gives_the_same_p_values() -> None:
    """Bit for bit: the manifest is JSON."""
    scores = np.random.default_rng(1).random(2500).astype(np.float32)
    read = Novelty.model_validate_json(json.dumps(table(scores).model_dump(mode="json")))
    assert np.array_equal(p_values(read, scores), p_values(table(scores), scores))


@pytest.mark.parametrize(
    "members",
    [
        {"rows": 3, "values": (0.1, 0.2)},
        {"rows": 2, "values": (0.2, 0.1)},
        {"rows": 1, "values": (float("nan"),)},
        {"rows": 0, "values": ()},
    ],
)
def test_a_table_that_is_none_is_refused(members: dict[str, object]) -> None:
    """Values that are too few, not ascending, not numbers, not there."""
    with pytest.raises(ValidationError):
        Novelty.model_validate({"score": "hidden"} | members)
