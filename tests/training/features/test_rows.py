"""Bins, codes, words and blanking of the row encoder."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clipmax.inputs import CategoryInput, NumberInput
from training.config import Rows
from training.features.rows import RowEncoder, Words, fit_bins

normal = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)
float32s = normal | st.sampled_from([1e-45, -3e-42, 0.0])
AGE, CITY = NumberInput(name="age", minimum=0, maximum=9), CategoryInput(name="city", categories=("a", "b", "c"))


def _encoder(values: list[float], *, settings: Rows | None = None) -> RowEncoder:
    columns = {"age": np.array(values, dtype=np.float32)[:, None]}
    return RowEncoder.fit([AGE, CITY], columns, settings or Rows()).eval()


def _numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def _codes(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)[:, None]


@given(arrays.arrays(np.float32, st.integers(1, 200), elements=float32s), st.integers(1, 96))
def test_any_column_gives_ascending_edges_and_finite_features(values: np.ndarray, bins: int) -> None:
    """Whatever finite numbers it holds, denormal, huge, equal or alone."""
    found = fit_bins(values, bins)
    assert (np.diff(found.edges) > 0).all()
    assert len(found.edges) == len(found.scores) <= bins + 1
    assert np.isfinite(found.edges).all()
    encoder = RowEncoder.fit([AGE], {"age": values[:, None]}, Rows(bins=bins)).eval()
    odd = _numbers(math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45, -0.0, *values[:3].tolist())
    assert torch.isfinite(encoder(odd)).all()


def test_denormal_numbers_are_harmless_when_they_are_flushed_to_zero() -> None:
    """As they are while training: a bin whose width becomes 0 would divide 0 by 0."""
    values = np.array([0.0, 1e-45, 1e-40, 1e-39] * 20, dtype=np.float32)
    torch.set_flush_denormal(True)
    try:
        encoder = RowEncoder.fit([AGE], {"age": values[:, None]}, Rows()).eval()
        assert torch.isfinite(encoder(_numbers(*values[:4].tolist()))).all()
    finally:
        torch.set_flush_denormal(False)


def test_a_frequent_value_does_not_take_the_bins_of_the_others() -> None:
    """92 % zeros leave plain quantiles 4 of 48 bins; the square root of the counts leaves most."""
    random = np.random.default_rng(0)
    values = np.where(random.random(20_000) < 0.92, 0, random.integers(1, 100_000, 20_000)).astype(np.float32)
    plain = np.unique(np.quantile(values, np.arange(49) / 48))
    assert len(plain) - 1 < 6
    assert len(fit_bins(values, 48).edges) - 1 > 30


def test_numbers_at_and_beyond_the_ends_are_the_same() -> None:
    """The graph clips to what the training split held."""
    encoder = _encoder([0, 1, 2, 5, 9] * 40)
    ends = encoder(_numbers(0, -5, -3e38, -math.inf), _codes(2, 2, 2, 2))
    assert (ends == ends[0]).all()


def test_a_missing_number_is_the_median_with_a_flag() -> None:
    """Nothing else of its features differs."""
    encoder = _encoder([1, 2, 2, 2, 9] * 40)
    missing, median = encoder(_numbers(math.nan, 2.0), _codes(2, 2))
    differing = torch.nonzero(missing != median)
    assert len(differing) == 1
    assert missing[differing].item() == 1.0


def test_the_normal_score_rises_from_edge_to_edge() -> None:
    """At the edges it is the normal quantile of the value's rank, between them a straight line."""
    values = np.random.default_rng(0).normal(size=5_000).astype(np.float32)
    encoder = RowEncoder.fit([AGE], {"age": values[:, None]}, Rows()).eval()
    scores = encoder(_numbers(-9, -1, 0, 1, 9))[:, -2].tolist()
    assert scores == pytest.approx([-2.576, -1, 0, 1, 2.576], abs=0.1)


def test_a_word_is_one_hot_and_a_code_that_does_not_exist_is_an_unknown_word() -> None:
    """0 unknown, 1 missing, 2 the first word; nothing is an error."""
    words = Words([3], Rows()).eval()
    assert torch.equal(words(_codes(0, 1, 2, 4)), torch.eye(5)[[0, 1, 2, 4]])
    assert torch.equal(words(_codes(-1, 5, 10_000, -(2**31))), torch.eye(5)[[0, 0, 0, 0]])


def test_a_column_of_very_many_words_becomes_vectors() -> None:
    """So that the width does not grow with the words; beside it a short column stays one-hot."""
    words = Words([5_000, 3], Rows(column_width=8)).eval()
    features = words(torch.tensor([[2, 2], [5_001, 4], [5_002, 1], [0, 0]], dtype=torch.int32))
    assert features.shape == (4, 8 + 5)
    assert torch.equal(features[2, 5:], features[3, 5:])


def test_blanking_happens_while_training_only() -> None:
    """Then numbers lose cells, and words become missing or unknown in equal parts."""
    encoder = _encoder([float(value) for value in range(10)] * 40, settings=Rows(blanking=0.4))
    ages, codes = _numbers(*[3.0] * 4_000), _codes(*[2] * 4_000)
    assert (encoder(ages, codes) == encoder(ages, codes)[0]).all()
    torch.manual_seed(0)
    flags_and_words = encoder.train()(ages, codes)[:, -6:].mean(dim=0).tolist()
    assert flags_and_words == pytest.approx([0.4, 0.2, 0.2, 0.6, 0.0, 0.0], abs=0.03)


def test_a_column_without_a_value_is_all_median() -> None:
    """It carries nothing, and breaks nothing."""
    encoder = _encoder([math.nan] * 40)
    assert torch.isfinite(encoder(_numbers(math.nan, 7.0), _codes(1, 0))).all()
