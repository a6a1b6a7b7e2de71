"""The figures are scikit-learn's where it has them, and keep their properties where it has not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from clipmax.refusal import Refusal
from tests.training.samples import Array, sample
from training import metrics
from training.calibration import fit_temperature, log_error


def test_log_probabilities_are_a_softmax_at_any_magnitude() -> None:
    """Rows sum to 1 and stay finite, also where a softmax that shifts by the wrong maximum gives NaN."""
    logits = np.array([[-95.0, 10.0], [1e4, -1e4], [-1e4, -1e4], [0.0, 0.0]])
    values = metrics.log_probabilities(logits)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    np.testing.assert_allclose(np.exp(values).sum(axis=1), 1.0, atol=1e-15)
    np.testing.assert_allclose(values[0], [-105.0, 0.0], atol=1e-12)


@given(st.integers(0, 10**6), st.floats(-1e3, 1e3), st.floats(0.05, 20.0))
@settings(max_examples=50, deadline=None)
def test_a_constant_added_to_all_logits_changes_nothing(seed: int, shift: float, temperature: float) -> None:
    """Softmax is shift-invariant, with temperature too."""
    logits, _ = sample(seed, rows=20)
    plain, shifted = (metrics.log_probabilities(z, temperature) for z in (logits, logits + shift))
    np.testing.assert_allclose(plain, shifted, atol=1e-9 * max(1.0, 1.0 / temperature))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_figures_equal_scikit_learns(classes: int) -> None:
    """Accuracy, macro F1, log loss, confusion, precision, recall, F1 and support."""
    logits, labels = sample(seed=classes, classes=classes)
    probabilities, predicted = np.exp(metrics.log_probabilities(logits)), logits.argmax(axis=1)
    assert metrics.accuracy(logits, labels) == sklearn.accuracy_score(labels, predicted)
    assert metrics.macro_f1(logits, labels) == pytest.approx(sklearn.f1_score(labels, predicted, average="macro"))
    expected_loss = sklearn.log_loss(labels, probabilities, labels=range(classes))
    assert metrics.log_loss(logits, labels) == pytest.approx(expected_loss)
    assert (metrics.confusion(logits, labels) == sklearn.confusion_matrix(labels, predicted)).all()
    expected = sklearn.precision_recall_fscore_support(labels, predicted, labels=range(classes))
    found = metrics.per_class(logits, labels)
    for ours, theirs in zip((found.precision, found.recall, found.f1, found.support), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_brier_equals_scikit_learns_and_the_definition() -> None:
    """Summed over classes, so for two classes it is twice scikit-learn's."""
    logits, labels = sample(1, classes=2)
    probabilities = np.exp(metrics.log_probabilities(logits))
    expected = 2 * sklearn.brier_score_loss(labels, probabilities[:, 1])
    assert metrics.brier(probabilities, labels) == pytest.approx(expected)
    assert metrics.brier(np.eye(3), np.array([1, 2, 0])) == 2.0
    assert metrics.brier(np.eye(3), np.array([0, 1, 2])) == 0.0


def drawn(random: np.random.Generator, logits: Array) -> Array:
    """A label of each row, from its softmax (Gumbel's maximum)."""
    return np.asarray((logits + random.gumbel(size=logits.shape)).argmax(axis=1))


def test_macro_f1_leaves_out_classes_that_never_occur() -> None:
    """A class without rows and without predictions has no F1, as scikit-learn counts."""
    logits = np.eye(5)[[0, 1, 1, 2]]
    labels = np.array([0, 1, 2, 2])
    expected = sklearn.f1_score(labels, logits.argmax(axis=1), average="macro")
    assert metrics.macro_f1(logits, labels) == pytest.approx(expected)


def test_ece_by_hand() -> None:
    """Two bins, gaps 0.2 and 0.1, weighted 2 to 1."""
    probabilities = np.array([[0.7, 0.3], [0.7, 0.3], [0.9, 0.1]])
    labels = np.array([0, 1, 0])
    assert metrics.ece(probabilities, labels, bins=10) == pytest.approx((2 * 0.2 + 0.1) / 3)


def test_ece_is_the_weighted_gap_of_the_reliability_bins() -> None:
    """The picture and the number say the same; a probability of exactly 1 falls into the last bin."""
    logits, labels = sample(2)
    probabilities = np.vstack([np.exp(metrics.log_probabilities(logits)), [[1.0, 0, 0, 0, 0]]])
    labels = np.append(labels, 0)
    found = metrics.reliability(probabilities, labels)
    assert found.count.sum() == len(labels)
    filled = found.count > 0
    gaps = np.abs(found.accuracy - found.confidence)[filled]
    assert metrics.ece(probabilities, labels) == pytest.approx((gaps * found.count[filled]).sum() / len(labels))
    assert np.isnan(found.accuracy[~filled]).all()
    assert (found.band_low[filled] <= found.confidence[filled]).all()
    assert (found.confidence[filled] <= found.band_high[filled]).all()


def test_a_calibrated_models_bins_lie_within_the_band_and_its_ece_within_the_noise() -> None:
    """Labels drawn from the probabilities themselves: 95 % of bins inside, mean ECE equal to the expected one."""
    inside, errors, noise = [], [], []
    for seed in range(60):
        logits, labels = sample(seed, rows=1000)
        probabilities = np.exp(metrics.log_probabilities(logits))
        found = metrics.reliability(probabilities, labels)
        filled = found.count > 0
        within = (found.band_low <= found.accuracy) & (found.accuracy <= found.band_high)
        inside.append(within[filled].mean())
        errors.append(metrics.ece(probabilities, labels))
        noise.append(metrics.ece_noise(probabilities))
    assert np.mean(inside) >= 0.93
    standard_error = np.std(errors) / np.sqrt(len(errors))
    assert abs(np.mean(errors) - np.mean([each.mean for each in noise])) < 4 * standard_error
    exceeded = np.mean([error > each.upper for error, each in zip(errors, noise, strict=True)])
    assert exceeded <= 0.15


def test_a_temperature_fitted_on_few_rows_explains_more_of_the_ece() -> None:
    """120 rows of a right model fit it, 2,000 others measure: the ECE stays below the bound 95 % of the time."""
    logits, _ = sample(5, rows=2120)
    fitted, test = logits[:120], logits[120:]
    random = np.random.default_rng(0)
    found = []
    for _ in range(200):
        temperature = fit_temperature(fitted, drawn(random, fitted))
        found.append(metrics.ece(np.exp(metrics.log_probabilities(test, temperature)), drawn(random, test)))
    rows_only = metrics.ece_noise(np.exp(metrics.log_probabilities(test)))
    noise = metrics.ece_noise_of_fitted(test, 1.0, log_error(fitted, 1.0))
    assert noise.mean == pytest.approx(np.mean(found), rel=0.1)
    assert np.mean(np.array(found) > noise.upper) == pytest.approx(0.05, abs=0.04)
    assert np.mean(np.array(found) > rows_only.upper) > 0.2


def test_a_temperature_without_an_error_leaves_the_chance_of_the_rows() -> None:
    """The two bounds agree, whichever way they are drawn."""
    logits, _ = sample(6, rows=1000)
    rows_only = metrics.ece_noise(np.exp(metrics.log_probabilities(logits, 1.3)))
    assert metrics.ece_noise_of_fitted(logits, 1.3, 0.0).upper == pytest.approx(rows_only.upper, rel=0.05)


def test_an_overconfident_model_stands_out_of_the_noise() -> None:
    """Twice the right logits: the ECE is far above what chance gives."""
    logits, labels = sample(3, rows=2000)
    probabilities = np.exp(metrics.log_probabilities(2 * logits))
    assert metrics.ece(probabilities, labels) > 2 * metrics.ece_noise(probabilities).upper


def test_the_noise_is_reproducible() -> None:
    """The same seed gives the same band."""
    probabilities = np.exp(metrics.log_probabilities(sample(4)[0]))
    assert metrics.ece_noise(probabilities) == metrics.ece_noise(probabilities)


def test_evaluate_fills_the_manifests_metrics() -> None:
    """Before and after temperature; overconfident logits times 2 with T = 2 are right again."""
    logits, labels = sample(5, rows=3000)
    found = metrics.evaluate((2 * logits).astype(np.float32), labels, 2.0)
    assert found.rows == 3000
    assert found.log_loss == pytest.approx(metrics.log_loss(logits, labels), abs=1e-6)
    assert found.log_loss < found.log_loss_uncalibrated
    assert found.ece < found.ece_uncalibrated
    assert found.accuracy == metrics.accuracy(logits, labels)


@pytest.mark.parametrize(
    ("scores", "labels", "field"),
    [
        (np.zeros((2, 2)), np.array([0, 2]), "labels"),
        (np.zeros((2, 2)), np.array([0, -1]), "labels"),
        (np.zeros((2, 2)), np.array([0.0, 1.0]), "labels"),
        (np.zeros((2, 2)), np.array([0]), "labels"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), np.array([0, 1]), "scores"),
        (np.array([[0.0, np.inf], [0.0, 0.0]]), np.array([0, 1]), "scores"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "scores"),
        (np.zeros((2, 1)), np.array([0, 0]), "scores"),
        (np.zeros(2), np.array([0, 0]), "scores"),
    ],
)
def test_rows_without_a_figure_are_refused(scores: Array, labels: Array, field: str) -> None:
    """Labels outside the classes, of another length or not integers; scores not finite or without classes."""
    with pytest.raises(Refusal) as refused:
        metrics.evaluate(scores, labels, 1.0)
    assert refused.value.field == field
