"""The accepted answers keep the chosen risk with the stated confidence, and the curve says what that costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import auc

from clipmax.abstention import abstains
from clipmax.refusal import Refusal
from tests.training.samples import Array, sample
from training import abstention
from training.metrics import log_probabilities


def rows(seed: int, count: int, sharpness: float = 4.0, temperature: float = 1.0) -> tuple[Array, Array]:
    """Probabilities in float32, as a graph gives them, and labels."""
    logits, labels = sample(seed, rows=count, sharpness=sharpness)
    return np.exp(log_probabilities(logits, temperature)).astype(np.float32), labels


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("count", [300, 2000])
@pytest.mark.parametrize("hinted", [False, True])
def test_the_true_risk_exceeds_the_chosen_in_at_most_5_of_100_samples(
    temperature: float, count: int, hinted: bool
) -> None:
    """Against 200,000 fresh rows; also for an overconfident model with many probabilities of exactly 1."""
    hint = rows(998, count, temperature=temperature) if hinted else None
    fresh, truth = rows(999, 200_000, temperature=temperature)
    wrong = fresh.argmax(axis=1) != truth
    exceeded = []
    for seed in range(200):
        part = abstention.fit(*rows(seed, count, temperature=temperature), risk=0.05, hint=hint)
        kept = ~abstains(part, fresh)
        exceeded.append(kept.any() and wrong[kept].mean() > 0.05)
    assert np.mean(exceeded) <= 0.05 + 0.03


def test_more_rows_accept_more() -> None:
    """The price of the guarantee falls with the rows; 236 are too few for the defaults, whatever they hold."""
    certain = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (237, 1))
    labels = np.zeros(237, dtype=int)
    assert abstention.fit(certain[1:], labels[1:]).threshold is None
    assert abstention.fit(certain, labels).threshold == 0.0
    coverages = [abstention.fit(*rows(1, count, sharpness=8.0)).coverage for count in (1000, 3000, 20_000)]
    assert 0.0 < coverages[0] < coverages[1] < coverages[2] < 1.0


def test_a_hint_from_other_rows_makes_fewer_rows_enough() -> None:
    """149 instead of 237 certain rows; and a useless hint costs coverage, not the guarantee."""
    certain, labels = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (149, 1)), np.zeros(149, dtype=int)
    assert abstention.fit(certain, labels, hint=(certain, labels)).threshold == 0.0
    assert abstention.fit(certain[1:], labels[1:], hint=(certain, labels)).threshold is None
    calibration, other = rows(1, 1000, sharpness=8.0), rows(2, 1000, sharpness=8.0)
    assert abstention.fit(*calibration, hint=other).coverage > abstention.fit(*calibration).coverage
    assert abstention.fit(*calibration, hint=(other[0], 4 - other[1])).coverage < 0.9


def test_a_larger_risk_accepts_more() -> None:
    """The threshold falls as the allowed risk rises, to 0 once the risk is above the error rate."""
    calibration = rows(1, 5000, sharpness=8.0)
    thresholds = [abstention.fit(*calibration, risk=risk).threshold for risk in (0.01, 0.02, 0.05, 0.5)]
    assert all(first is not None for first in thresholds)
    assert thresholds == sorted(thresholds, key=lambda t: -math.inf if t is None else t, reverse=True)
    assert thresholds[-1] == 0.0


def test_a_model_that_guesses_is_never_accepted() -> None:
    """Labels that have nothing to do with the probabilities."""
    probabilities, _ = rows(1, 5000)
    labels = np.random.default_rng(0).integers(0, 5, 5000)
    part = abstention.fit(probabilities, labels)
    assert part.threshold is None
    assert part.coverage == 0.0
    assert math.isnan(abstention.measure(part, probabilities, labels).risk)


def test_the_chosen_threshold_keeps_its_risk_on_a_test_split() -> None:
    """2 % asked: the interval of what was measured reaches down to it; coverage as in the manifest, within noise."""
    part = abstention.fit(*rows(1, 5000, sharpness=8.0))
    found = abstention.measure(part, *rows(2, 5000, sharpness=8.0))
    assert found.risk_low <= 0.02
    assert found.risk_low <= found.risk <= found.risk_high
    assert found.coverage == pytest.approx(part.coverage, abs=0.03)


def test_the_curve_ends_at_the_error_rate_and_never_splits_equal_probabilities() -> None:
    """By hand: four rows, two of them equal."""
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2], [0.6, 0.4]])
    curve = abstention.risk_coverage(probabilities, np.array([0, 0, 1, 1]))
    assert curve.threshold.tolist() == [0.9, 0.8, 0.6]
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    np.testing.assert_allclose(curve.risk, [0.0, 1 / 3, 0.5])
    assert abstention.area(curve) == pytest.approx((0.0 + 2 / 3 + 0.5) / 4)


def test_the_area_tells_a_useful_confidence_from_a_useless_one() -> None:
    """Close to the trapezoid area of scikit-learn; a random order has the error rate as its area."""
    probabilities, labels = rows(1, 5000)
    curve = abstention.risk_coverage(probabilities, labels)
    assert abstention.area(curve) == pytest.approx(auc(curve.coverage, curve.risk), abs=1e-3)
    shuffled = np.random.default_rng(0).permutation(len(labels))
    right = probabilities.argmax(axis=1) == labels
    useless = abstention.risk_coverage(probabilities, np.where(right[shuffled], probabilities.argmax(axis=1), -1) % 5)
    assert abstention.area(curve) < 0.5 * curve.risk[-1] < abstention.area(useless)


def test_the_binomial_tail_equals_its_definition() -> None:
    """Against the sum of comb(n, k) r^k (1 - r)^(n - k), where errors are below the rate."""
    for errors, trials, rate in ((0, 149, 0.02), (3, 400, 0.02), (10, 50, 0.5), (0, 1, 0.3)):
        expected = sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(errors + 1))
        found = abstention.binomial_tail(np.array([errors]), np.array([trials]), rate)[0]
        assert found == pytest.approx(expected, rel=1e-9)
    assert abstention.binomial_tail(np.array([0]), np.array([0]), 0.02)[0] == 1.0


def test_clopper_pearson_bounds_equal_the_published_rule_of_three_and_its_inverse() -> None:
    """No error in n: 1 - level^(1/n); all wrong: 1; and the tail at the bound is the level."""
    assert abstention.clopper_pearson_upper(0, 300, 0.05) == pytest.approx(1 - 0.05 ** (1 / 300), abs=1e-8)
    assert abstention.clopper_pearson_upper(7, 7, 0.05) == 1.0
    bound = abstention.clopper_pearson_upper(12, 700, 0.025)
    tail = abstention.binomial_tail(np.array([12]), np.array([700]), bound)[0]
    assert tail == pytest.approx(0.025, rel=1e-5)


def test_rows_that_cannot_be_judged_are_refused() -> None:
    """Labels outside the classes."""
    with pytest.raises(Refusal):
        abstention.fit(np.full((3, 2), 0.5), np.array([0, 1, 2]))
