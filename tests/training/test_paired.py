"""What two models differ in is measured on the same rows: exact tests, and intervals that chance explains."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.training.samples import Array, sample
from training import metrics, paired
from training.paired import Scored


def scored(logits: Array, labels: Array) -> Scored:
    """A model's answers from its logits."""
    log = metrics.log_probabilities(logits)
    return Scored(
        true=labels,
        answered=log.argmax(axis=1),
        confidence=np.exp(log.max(axis=1)),
        surprise=-log[np.arange(len(log)), labels],
        classes=logits.shape[1],
    )


def test_figures_are_those_of_the_metrics() -> None:
    """Row by row; and rows that count twice are as good as rows that are there twice."""
    logits, labels = sample(1)
    found = scored(logits, labels)
    expected = metrics.evaluate(logits, labels, 1.0)
    by_name = dict(zip(paired.FIGURES, found.figures(), strict=True))
    for name, value in by_name.items():
        assert value == pytest.approx(getattr(expected, name), abs=1e-12)
    twice = np.arange(len(labels)) % 2 + 1
    repeated = np.repeat(np.arange(len(labels)), twice)
    expected_twice = scored(logits[repeated], labels[repeated]).figures()
    np.testing.assert_allclose(found.figures(twice.astype(np.float64)), expected_twice, atol=1e-12)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (3, 12), (12, 3), (7, 7), (7, 8), (100, 141), (2, 900)])
def test_mcnemar_is_the_exact_binomial_test(lost: int, won: int) -> None:
    """As scipy has it; without a row that changed, nothing speaks against equality."""
    expected = stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert paired.mcnemar(lost, won) == pytest.approx(expected, rel=1e-9)


def test_a_model_does_not_differ_from_itself() -> None:
    """Not by chance either: the rows are the same."""
    one = scored(*sample(2))
    np.testing.assert_array_equal(paired.intervals(one, one, seed=0, resamples=50), np.zeros((4, 2)))


def test_intervals_are_fixed_by_their_seed_and_agree_with_theory() -> None:
    """For accuracy and log loss, whose differences are means over rows: about 1.96 standard errors to each side."""
    logits, labels = sample(3, rows=800)
    before, after = scored(logits, labels), scored(logits + np.random.default_rng(0).normal(0, 1, logits.shape), labels)
    found = paired.intervals(before, after, seed=5)
    np.testing.assert_array_equal(found, paired.intervals(before, after, seed=5))
    assert not np.array_equal(found, paired.intervals(before, after, seed=6))
    pairs = [(after.correct.astype(float), before.correct.astype(float)), (after.surprise, before.surprise)]
    for (new, old), (low, high) in zip(pairs, found, strict=False):
        error = (new - old).std() / np.sqrt(len(labels))
        assert (low, high) == pytest.approx(
            ((new - old).mean() - 1.96 * error, (new - old).mean() + 1.96 * error), abs=0.3 * error
        )


def test_a_clear_difference_leaves_zero_out() -> None:
    """In either direction."""
    assert [paired.is_clear(one) for one in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0.0, 0.0))] == [
        True,
        True,
        False,
        False,
    ]


def test_the_interval_of_a_mean_holds_it_and_tells_equal_from_better() -> None:
    """Gaps of the same customers, so that noise common to both cancels out."""
    random = np.random.default_rng(0)
    gaps = 0.01 + random.normal(0.0, 0.02, 400)
    low, high = paired.mean_interval(gaps)
    assert 0.0 < low < 0.01 < high < 0.02
    assert paired.mean_interval(gaps) == (low, high) != paired.mean_interval(gaps, seed=1)
    assert paired.mean_interval(np.zeros(400)) == (0.0, 0.0)
