"""The temperature is the optimum of a convex problem, and few rows cannot drag it to its bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmax.refusal import Refusal
from tests.training.samples import Array, sample
from training import conformal
from training.calibration import TEMPERATURE_MAX, TEMPERATURE_MIN, apart, fit_temperature, log_error, without_each
from training.metrics import log_loss, log_probabilities

seeds = st.integers(0, 10**6)


@given(seeds, st.floats(0.2, 5.0))
@settings(max_examples=40, deadline=None)
def test_the_slope_at_the_optimum_is_zero(seed: int, scale: float) -> None:
    """Central difference of the log loss in log T, without the prior."""
    logits, labels = sample(seed)
    found = fit_temperature(scale * logits, labels, prior_deviation=None)
    assert TEMPERATURE_MIN < found < TEMPERATURE_MAX
    step = 1e-4
    rise = log_loss(scale * logits, labels, found * (1 + step)) - log_loss(scale * logits, labels, found * (1 - step))
    assert abs(rise / (2 * step)) < 1e-6


@given(seeds, st.floats(0.1, 10.0))
@settings(max_examples=40, deadline=None)
def test_it_is_never_worse_than_no_temperature(seed: int, scale: float) -> None:
    """On the rows it is fitted on; with the prior too, whose mode is T = 1."""
    logits, labels = sample(seed, rows=60)
    for prior in (None, 0.1, 0.3):
        found = fit_temperature(scale * logits, labels, prior_deviation=prior)
        assert log_loss(scale * logits, labels, found) <= log_loss(scale * logits, labels) + 1e-12


@given(seeds, st.floats(0.25, 4.0))
@settings(max_examples=40, deadline=None)
def test_it_scales_with_the_logits(seed: int, scale: float) -> None:
    """Logits twice as large need twice the temperature, when there is no prior."""
    logits, labels = sample(seed)
    plain, scaled = (fit_temperature(z, labels, prior_deviation=None) for z in (logits, scale * logits))
    assert scaled == pytest.approx(scale * plain, rel=1e-8)


@given(seeds, st.floats(-1e3, 1e3))
@settings(max_examples=40, deadline=None)
def test_constants_added_to_a_row_change_nothing(seed: int, shift: float) -> None:
    """A constant a row, another in each row."""
    logits, labels = sample(seed, rows=100)
    shifts = shift * np.random.default_rng(seed).random((100, 1))
    assert fit_temperature(logits + shifts, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-9)


def test_its_error_is_what_new_rows_of_the_same_kind_show() -> None:
    """The logarithm of 300 temperatures, each fitted on 200 rows drawn at T = 1.5, scatters by as much as is said."""
    logits, _ = sample(8, rows=200)
    random = np.random.default_rng(0)
    found = [
        np.log(fit_temperature(logits, (logits / 1.5 + random.gumbel(size=logits.shape)).argmax(axis=1)))
        for _ in range(300)
    ]
    assert np.std(found) == pytest.approx(log_error(logits, 1.5), rel=0.15)


def test_without_a_row_it_is_what_the_other_rows_give() -> None:
    """Each of 200 temperatures against a fit of the other 199: the change agrees within a twentieth of the largest."""
    logits, labels = sample(9, rows=200)
    temperature = fit_temperature(logits, labels)
    found = np.log(without_each(logits, labels, temperature) / temperature)
    exact = [fit_temperature(np.delete(logits, row, 0), np.delete(labels, row)) / temperature for row in range(200)]
    assert np.abs(found - np.log(exact)).max() < np.abs(found).max() / 20


def test_without_a_row_it_never_leaves_its_bounds() -> None:
    """Two rows that contradict each other, with logits of 1e30."""
    logits = np.array([[1e30, -1e30], [1e30, -1e30]], dtype=np.float32)
    found = without_each(logits, np.array([0, 1]), fit_temperature(logits, np.array([0, 1])))
    assert ((found >= TEMPERATURE_MIN) & (found <= TEMPERATURE_MAX)).all()


def test_sets_keep_their_promise_on_rows_that_fitted_the_temperature() -> None:
    """300 times 40 rows: on 500 new rows each, the coverage is at least what was asked, and not a point more."""
    covered = []
    for seed in range(300):
        logits, labels = sample(seed, rows=40)
        new, truth = sample(50_000 + seed, rows=500)
        temperature = fit_temperature(3 * logits, labels)
        table = conformal.fit(apart(3 * logits, labels, temperature), labels)
        served = np.exp(log_probabilities(3 * new, temperature)).astype(np.float32)
        covered.append(conformal.measure(table, served, truth, coverage=0.9).coverage)
    noise = 2 * np.std(covered) / np.sqrt(len(covered))
    assert 0.9 - noise <= np.mean(covered) <= 0.9 + 1 / 41 + noise


def test_a_row_apart_has_the_probabilities_of_its_own_temperature() -> None:
    """In float32, as a graph gives them."""
    logits, labels = sample(4, rows=30)
    found = apart(logits, labels, 1.3)
    temperatures = without_each(logits, labels, 1.3)
    assert found.dtype == np.float32
    for row, own in enumerate(temperatures):
        assert np.array_equal(found[row], np.exp(log_probabilities(logits[row : row + 1], own))[0].astype(np.float32))


def test_it_recovers_the_temperature_that_made_the_labels() -> None:
    """20,000 rows drawn at T = 2.5 give 2.5 back within 3 %, and the default prior does not matter."""
    logits, labels = sample(7, rows=20_000)
    assert fit_temperature(2.5 * logits, labels, prior_deviation=None) == pytest.approx(2.5, rel=0.03)
    assert fit_temperature(2.5 * logits, labels) == pytest.approx(2.5, rel=0.03)


def test_the_prior_keeps_few_rows_that_are_all_right_from_a_bound() -> None:
    """Without it T runs to its lower bound; with it T stays near 1 and moves away only as rows accumulate."""
    labels = np.arange(30) % 3
    logits = 4.0 * np.eye(3)[labels]
    assert fit_temperature(logits, labels, prior_deviation=None) < 0.05
    few = fit_temperature(logits, labels)
    many = fit_temperature(np.tile(logits, (30, 1)), np.tile(labels, 30))
    assert 0.5 < many < few < 1.0


def test_the_prior_is_that_of_log_t_to_second_order() -> None:
    """Close to T = 1 the penalty equals (log T)² / 2s², so the optimum equals that of the log-normal prior."""
    logits, labels = sample(8, rows=200)
    deviation = 0.02
    candidates = np.linspace(0.95, 1.05, 2001)
    losses = [200 * log_loss(logits, labels, t) + np.log(t) ** 2 / (2 * deviation**2) for t in candidates]
    expected = candidates[int(np.argmin(losses))]
    assert fit_temperature(logits, labels, prior_deviation=deviation) == pytest.approx(expected, abs=5e-4)


def test_rows_that_say_nothing_leave_the_temperature_at_one() -> None:
    """Equal logits have no slope at all."""
    assert fit_temperature(np.zeros((5, 3)), np.arange(5) % 3) == 1.0


def test_huge_logits_stay_finite() -> None:
    """±1e30 in float32, some rows wrong: T stops at its upper bound and nothing overflows."""
    logits = np.array([[1e30, -1e30], [1e30, -1e30], [-1e30, 1e30]], dtype=np.float32)
    found = fit_temperature(logits, np.array([0, 1, 1]), prior_deviation=None)
    assert found == pytest.approx(TEMPERATURE_MAX)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((2, 1)), np.array([0, 0])),
        (np.zeros((0, 2)), np.zeros(0, dtype=int)),
        (np.array([[np.nan, 0.0]]), np.array([0])),
        (np.zeros((2, 2)), np.array([0, 2])),
    ],
)
def test_what_cannot_be_calibrated_is_refused(logits: Array, labels: Array) -> None:
    """One class, no rows, NaN logits and labels outside the classes."""
    with pytest.raises(Refusal) as refused:
        fit_temperature(logits, labels)
    assert refused.value.where == "temperature"
