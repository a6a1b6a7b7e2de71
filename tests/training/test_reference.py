"""Drift statistics of each kind of input, small and without rows."""

from __future__ import annotations

import numpy as np
import pytest

from clipmax.reference import QUANTILES, NumbersReference, Reference, WordsReference
from tests.training.report.evidence import IMAGE, ROW, TEXT, evidence
from training import reference


@pytest.fixture(scope="module")
def found() -> Reference:
    """Of all kinds of input."""
    measured: Reference = evidence(classes=4, inputs=(IMAGE, *ROW, TEXT)).measured.reference
    return measured


def test_shares_add_up_to_one(found: Reference) -> None:
    """Of the answers and of the histogram."""
    assert sum(found.predicted) == pytest.approx(1.0, abs=1e-5)
    assert sum(found.top_probability) == pytest.approx(1.0, abs=1e-5)
    assert len(found.predicted) == 4


def test_each_kind_has_its_statistic(found: Reference) -> None:
    """Brightness, value as the data has it, words, length."""
    image, amount, currency, question = found.inputs.values()
    assert isinstance(image, NumbersReference)
    assert isinstance(amount, NumbersReference)
    assert isinstance(currency, WordsReference)
    assert isinstance(question, NumbersReference)
    assert (image.of, amount.of, question.of) == ("mean pixel", "value", "length")
    assert amount.missing == pytest.approx(1 / 7, abs=0.01)
    assert 99.0 <= amount.quantiles[0] < 99.1
    assert 100.9 < amount.quantiles[-1] <= 101.0
    assert currency.missing + currency.unknown + sum(currency.shares.values()) == pytest.approx(1.0, abs=1e-5)


def test_quantiles_are_those_of_numpy(found: Reference) -> None:
    """To six digits."""
    given = evidence(classes=4, inputs=(IMAGE, *ROW, TEXT))
    means = given.dataset.validation.columns["image"].reshape(-1, 16).mean(axis=1)
    image = found.inputs["image"]
    assert isinstance(image, NumbersReference)
    assert image.quantiles == pytest.approx(np.quantile(means, QUANTILES).tolist(), rel=1e-5)


def test_rows_at_most_at_each_quantile_are_counted() -> None:
    """Two thirds have the same number: what is at most that number is no share that quantiles are taken at."""
    given = evidence(inputs=ROW)
    column = given.dataset.validation.columns["amount"]
    column[:] = np.where(np.arange(len(column)) % 3 == 0, 2.0, 1.0)[:, None]
    probabilities = np.full((len(column), 3), 1 / 3, dtype=np.float32)
    amount = reference.fit(ROW, given.dataset.validation, probabilities).inputs["amount"]
    assert isinstance(amount, NumbersReference)
    assert amount.at_most[0] == pytest.approx(float((column == 1.0).mean()), abs=1e-6)
    assert amount.at_most[-1] == 1.0


def test_a_column_without_values_has_no_quantiles() -> None:
    """All missing."""
    given = evidence(inputs=ROW)
    given.dataset.validation.columns["amount"][:] = np.nan
    probabilities = np.full((len(given.dataset.validation), 3), 1 / 3, dtype=np.float32)
    amount = reference.fit(ROW, given.dataset.validation, probabilities).inputs["amount"]
    assert amount == NumbersReference(of="value", missing=1.0, mean=None, quantiles=())
