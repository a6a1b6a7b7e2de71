"""Losses against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from torch.nn.functional import one_hot

from training import config
from training.losses import (
    LOSSES,
    build,
    class_weights,
    cross_entropy,
    focal,
    label_smoothing,
    logit_norm,
    squared_error,
)


def _batch(seed: int, rows: int, classes: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64) * scale
    labels = torch.randint(classes, (rows,), generator=generator)
    return logits.requires_grad_(), labels


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(2, 12), st.sampled_from([0.1, 1.0, 10.0, 1000.0]))
def test_the_gradient_of_cross_entropy_is_p_minus_y(seed: int, rows: int, classes: int, scale: float) -> None:
    """Divided by the rows, whatever the logits."""
    logits, labels = _batch(seed, rows, classes, scale)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, labels), logits)
    expected = (torch.softmax(logits.detach(), dim=1) - one_hot(labels, classes)) / rows
    torch.testing.assert_close(gradient, expected)


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(2, 12))
def test_squared_error_is_the_brier_score(seed: int, rows: int, classes: int) -> None:
    """The squared distance to the one-hot label, summed over classes, averaged over rows."""
    logits, labels = _batch(seed, rows, classes, 3.0)
    expected = 0.0
    for row, label in zip(torch.softmax(logits, dim=1).tolist(), labels.tolist(), strict=True):
        expected += sum((p - (index == label)) ** 2 for index, p in enumerate(row)) / rows
    assert squared_error(logits, labels).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_logits_of_ten_thousand_give_a_finite_loss_and_gradient(name: str) -> None:
    """The softmax inside shifts by the true maximum."""
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    loss = LOSSES[name](logits, torch.tensor([0, 0]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_squared_error_starves_a_confident_wrong_row() -> None:
    """Where cross-entropy still pulls with full force, its gradient is gone."""
    logits, labels = torch.tensor([[50.0, 0.0]], requires_grad=True), torch.tensor([1])
    sizes = [
        torch.autograd.grad(loss(logits, labels), logits)[0].abs().max().item()
        for loss in (cross_entropy, squared_error)
    ]
    assert sizes[0] == pytest.approx(1.0)
    assert sizes[1] < 1e-20


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(2, 12), st.floats(0.0, 0.9))
def test_label_smoothing_is_torchs(seed: int, rows: int, classes: int, smoothing: float) -> None:
    """With and without class weights of 1."""
    logits, labels = _batch(seed, rows, classes, 3.0)
    expected = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(label_smoothing(logits, labels, smoothing=smoothing), expected)
    weights = torch.ones(classes, dtype=torch.float64)
    torch.testing.assert_close(label_smoothing(logits, labels, smoothing=smoothing, weights=weights), expected)


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(2, 12), st.floats(0.0, 5.0))
def test_focal_loss_is_its_formula(seed: int, rows: int, classes: int, focus: float) -> None:
    """Mean of -(1 - p)^focus log p; cross-entropy where the focus is 0."""
    logits, labels = _batch(seed, rows, classes, 2.0)
    p = torch.softmax(logits, dim=1)[torch.arange(rows), labels]
    torch.testing.assert_close(focal(logits, labels, focus=focus), -((1 - p) ** focus * p.log()).mean())
    torch.testing.assert_close(focal(logits, labels, focus=0.0), cross_entropy(logits, labels))


@given(st.integers(0, 2**31), st.integers(2, 12), st.floats(0.5, 100.0))
def test_logit_norm_does_not_see_the_length_of_the_logits(seed: int, classes: int, factor: float) -> None:
    """Only their direction counts, so confidence cannot grow by length."""
    logits, labels = _batch(seed, 5, classes, 2.0)
    torch.testing.assert_close(logit_norm(logits * factor, labels), logit_norm(logits, labels))
    scaled = logits / logits.norm(dim=1, keepdim=True) / 0.04
    torch.testing.assert_close(logit_norm(logits, labels), cross_entropy(scaled, labels))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_weight_of_two_counts_as_having_the_rows_twice(name: str) -> None:
    """Whatever the loss."""
    logits, labels = _batch(1, 6, 3, 2.0)
    weights = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    again = labels == 1
    expected = LOSSES[name](torch.cat([logits, logits[again]]), torch.cat([labels, labels[again]]))
    torch.testing.assert_close(LOSSES[name](logits, labels, weights=weights), expected)


def test_balanced_weights_make_every_class_count_the_same() -> None:
    """Rows times weight is equal for all classes, and all rows together still count as their number."""
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = class_weights(config.Loss(class_weights="balanced"), labels, 3)
    assert weights is not None
    assert (weights.numpy() * np.bincount(labels)).tolist() == pytest.approx([10 / 3] * 3)
    assert class_weights(config.Loss(), labels, 3) is None


def test_a_loss_is_built_with_its_own_setting() -> None:
    """And with the class weights, when there are some."""
    logits, labels = _batch(1, 6, 3, 2.0)
    built = build(config.Loss(name="focal", focus=3.5))
    torch.testing.assert_close(built(logits, labels), focal(logits, labels, focus=3.5))
    torch.testing.assert_close(build(config.Loss())(logits, labels), cross_entropy(logits, labels))
