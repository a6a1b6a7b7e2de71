"""The weights of a softmax over items are those of the highest likelihood."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.next_basket import choice

WEIGHTS = np.array([1.5, -0.7, 0.3])


def _drawn(rows: int, items: int = 12) -> tuple[choice.Floats, choice.Floats]:
    """Features at random, and items bought as the weights say."""
    random = np.random.default_rng(0)
    features = random.normal(size=(3, rows, items)).astype(np.float32)
    logits = choice.scores(features, WEIGHTS)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    bought = (chances.cumsum(axis=1) < random.random((rows, 1))).sum(axis=1).clip(max=items - 1)
    return features, np.eye(items, dtype=np.float32)[bought]


def test_the_weights_that_made_the_choices_are_found() -> None:
    """Up to the noise of 4,000 customers."""
    features, wanted = _drawn(4000)
    np.testing.assert_allclose(choice.fit(features, wanted), WEIGHTS, atol=0.1)


def test_the_gradient_is_zero_at_the_weights() -> None:
    """By torch's own loss, with the same penalty."""
    features, wanted = _drawn(300)
    weights = torch.tensor(choice.fit(features, wanted), requires_grad=True)
    logits = torch.einsum("f,frk->rk", weights, torch.from_numpy(features).double())
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(wanted).double()) + 1e-3 * weights.square().sum()
    loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
    assert weights.grad is not None
    assert weights.grad.abs().max().item() < 1e-4


@pytest.mark.parametrize("scale", [1e-3, 50.0])
def test_a_feature_that_tells_all_keeps_a_finite_weight(scale: float) -> None:
    """The likelihood alone would grow for ever."""
    wanted = np.eye(5, dtype=np.float32)
    assert np.isfinite(choice.fit((wanted * scale)[None], wanted)).all()
