"""The population stability index, and what it is without any drift."""

from __future__ import annotations

import numpy as np
import pytest

from clipmax.inputs import CategoryInput, ImageInput, NumberInput, TextInput
from clipmax.reference import QUANTILES, NumbersReference, WordsReference
from service.telemetry import drift

SHARES = np.array([0.5, 0.3, 0.15, 0.05])


def _psi_without_drift(rows: int, reference_rows: int, times: int = 2000) -> tuple[np.ndarray, float, float]:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(times):
        reference = generator.multinomial(reference_rows, SHARES) / reference_rows
        window = generator.multinomial(rows, SHARES).astype(float)
        found.append(drift.measure(window, reference, reference_rows))
    return np.array([one.psi for one in found]), found[-1].noise, found[-1].limit


@pytest.mark.parametrize(("rows", "reference_rows"), [(200, 1000), (2000, 1000), (1000, 10000)])
def test_without_drift_the_index_is_its_noise_on_average_and_hardly_ever_above_its_limit(
    rows: int, reference_rows: int
) -> None:
    """Two thousand windows and references of the same shares."""
    psi, noise, limit = _psi_without_drift(rows, reference_rows)
    assert psi.mean() == pytest.approx(noise, rel=0.15)
    assert np.mean(psi > limit) <= 0.004


def test_another_mix_is_far_above_its_limit() -> None:
    """Half of the rows in a class that had a twentieth."""
    found = drift.measure(np.array([100.0, 200.0, 200.0, 500.0]), SHARES, 5000)
    assert found.psi > 10 * found.limit


def test_an_empty_window_has_no_drift() -> None:
    """Nor has a reference of one bin."""
    assert drift.measure(np.zeros(4), SHARES, 100) == drift.Drift(0.0, 0.0, 0.0)
    assert drift.measure(np.array([7.0]), np.array([1.0]), 100) == drift.Drift(0.0, 0.0, 0.0)


@pytest.mark.parametrize(("freedom", "exact"), [(1, 10.828), (9, 27.877), (50, 86.661)])
def test_the_limit_is_the_quantile_of_the_distribution(freedom: int, exact: float) -> None:
    """Within 4 percent of the tables."""
    assert drift._quantile_999(freedom) == pytest.approx(exact, rel=0.04)


def _numbers(of: str, values: np.ndarray, missing: float = 0.0, *, counted: bool = False) -> NumbersReference:
    quantiles = tuple(np.quantile(values, QUANTILES).tolist())
    at_most = tuple(float((values <= quantile).mean()) for quantile in quantiles) if counted else ()
    return NumbersReference.model_validate(
        {"of": of, "missing": missing, "mean": float(values.mean()), "quantiles": quantiles, "at_most": at_most}
    )


def _shares(bins: drift.Bins, tensor: np.ndarray) -> np.ndarray:
    return np.bincount(bins.place(tensor), minlength=len(bins.shares)) / len(tensor)


def test_numbers_fall_into_the_bins_of_their_reference() -> None:
    """With an origin and missing values: the same data gives the reference's shares."""
    schema = NumberInput(name="seen", minimum=0.0, maximum=2000.0, origin=1000.0)
    values = np.random.default_rng(0).normal(1000, 20, 4000)
    tensor = np.append((values - 1000).astype(np.float32), [np.float32("nan")] * 1000)[:, None]
    bins = drift.bins_of(schema, _numbers("value", values, missing=0.2))
    np.testing.assert_allclose(_shares(bins, tensor), bins.shares, atol=0.003)
    assert bins.shares.sum() == pytest.approx(1)


def test_whole_numbers_without_drift_are_hardly_ever_above_their_limit() -> None:
    """Years of schooling, say: five of eleven quantiles are 9, and the share of the 9 is none of the quantiles' own."""
    generator = np.random.default_rng(0)
    years, shares = np.array([5.0, 7, 9, 10, 11, 13, 14]), [0.06, 0.10, 0.34, 0.22, 0.08, 0.15, 0.05]
    schema = NumberInput(name="years", minimum=0.0, maximum=20.0)
    above = 0
    for _ in range(200):
        bins = drift.bins_of(schema, _numbers("value", generator.choice(years, 1600, p=shares), counted=True))
        rows = generator.choice(years, 5000, p=shares).astype(np.float32)[:, None]
        found = drift.measure(
            np.bincount(bins.place(rows), minlength=len(bins.shares)).astype(float), bins.shares, 1600
        )
        above += found.psi > found.limit
    assert above <= 2


def test_values_that_repeat_share_a_bin_in_versions_of_before() -> None:
    """Half of them 0: the bin up to 0 has what the last of the equal quantiles says."""
    values = np.concatenate([np.zeros(505), np.linspace(1, 2, 495)])
    schema = NumberInput(name="amount", minimum=0.0, maximum=2.0)
    bins = drift.bins_of(schema, _numbers("value", values))
    np.testing.assert_allclose(_shares(bins, values.astype(np.float32)[:, None]), bins.shares, atol=0.012)


def test_images_are_placed_by_their_mean_pixel() -> None:
    """As the reference has it."""
    images = np.random.default_rng(0).integers(0, 256, (1000, 4, 4)).astype(np.float32)
    schema = ImageInput(name="image", shape=(4, 4))
    bins = drift.bins_of(schema, _numbers("mean pixel", images.reshape(1000, -1).mean(axis=1)))
    np.testing.assert_allclose(_shares(bins, images), bins.shares, atol=0.01)


def test_texts_are_placed_by_their_length_up_to_what_is_read() -> None:
    """Longer ones are cut, so their true length is not known: they share the last bin."""
    lengths = np.random.default_rng(0).integers(1, 21, 1000)
    schema = TextInput(name="text", max_length=10)
    bins = drift.bins_of(schema, _numbers("length", lengths.astype(float)))
    read = np.minimum(lengths, 11)
    tensor = (np.arange(11) < read[:, None]).astype(np.int32) * 97
    np.testing.assert_allclose(_shares(bins, tensor), bins.shares, atol=0.06)


def test_words_have_a_bin_each_and_the_rest_one() -> None:
    """With missing and unknown ones."""
    schema = CategoryInput(name="city", categories=("Rome", "Oslo", "Bern"))
    reference = WordsReference(missing=0.1, unknown=0.0, shares={"Oslo": 0.5, "Rome": 0.3})
    bins = drift.bins_of(schema, reference)
    np.testing.assert_allclose(bins.shares, [0.1, 0.0, 0.5, 0.3, 0.1])
    codes = np.array([[0], [1], [2], [3], [4]])
    assert bins.place(codes).tolist() == [1, 0, 3, 2, 4]
