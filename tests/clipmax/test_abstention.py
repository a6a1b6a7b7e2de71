"""Rows below the threshold stay unanswered."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from clipmax.abstention import Abstention, abstains


def part(threshold: float | None) -> Abstention:
    """A manifest's part with this threshold."""
    return Abstention(risk=0.02, confidence_level=0.95, threshold=threshold, coverage=0.9, rows=1000)


def test_rows_below_the_threshold_abstain() -> None:
    """The threshold itself is still answered."""
    probabilities = np.array([[0.5, 0.25, 0.25], [0.25, 0.75, 0.0], [0.75, 0.125, 0.125]], dtype=np.float32)
    assert abstains(part(0.75), probabilities).tolist() == [True, False, False]


def test_a_threshold_is_compared_in_float64() -> None:
    """0.6 in float32 is a little above 0.6, and stays so."""
    row = np.array([[0.6, 0.4]], dtype=np.float32)
    assert not abstains(part(0.6), row)[0]
    assert abstains(part(float(np.float32(0.6)) + 1e-12), row)[0]


def test_threshold_0_answers_everything_and_none_answers_nothing() -> None:
    """No threshold was shown to keep the risk: every row abstains."""
    probabilities = np.full((3, 2), 0.5)
    assert not abstains(part(0.0), probabilities).any()
    assert abstains(part(None), probabilities).all()


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_thresholds_outside_0_to_1_are_refused(threshold: float) -> None:
    """They could only come from a damaged manifest."""
    with pytest.raises(ValidationError):
        part(threshold)
