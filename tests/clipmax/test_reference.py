"""Statistics that contradict themselves are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from clipmax.reference import QUANTILES, TOP_PROBABILITY_BINS, NumbersReference, Reference


def test_quantiles_ascend_and_are_complete() -> None:
    """Or there are none, where every row is missing."""
    complete = tuple(float(place) for place in range(len(QUANTILES)))
    assert NumbersReference(of="value", missing=0.0, mean=1.0, quantiles=complete).quantiles == complete
    for wrong in (complete[:-1], complete[::-1]):
        with pytest.raises(ValidationError, match="quantiles"):
            NumbersReference(of="value", missing=0.0, mean=1.0, quantiles=wrong)


def test_shares_at_the_quantiles_ascend_and_are_as_many() -> None:
    """Versions of before they were kept have none."""
    complete = tuple(float(place) for place in range(len(QUANTILES)))
    for wrong in (QUANTILES[:-1], QUANTILES[::-1]):
        with pytest.raises(ValidationError, match="share"):
            NumbersReference(of="value", missing=0.0, mean=1.0, quantiles=complete, at_most=wrong)


def test_the_histogram_has_all_its_bins() -> None:
    """Twenty, each a share."""
    bins = (1.0,) + (0.0,) * (TOP_PROBABILITY_BINS - 1)
    assert Reference(rows=1, predicted=(1.0, 0.0), top_probability=bins, inputs={}).top_probability == bins
    for wrong in (bins[:-1], (1.5, *bins[1:])):
        with pytest.raises(ValidationError):
            Reference(rows=1, predicted=(1.0, 0.0), top_probability=wrong, inputs={})
