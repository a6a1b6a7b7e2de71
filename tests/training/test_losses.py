"""Losses against their formulas."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from training.losses import LOSSES, cross_entropy, squared_error


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
    sizes = [torch.autograd.grad(LOSSES[name](logits, labels), logits)[0].abs().max().item() for name in sorted(LOSSES)]
    assert sizes[0] == pytest.approx(1.0)
    assert sizes[1] < 1e-20
