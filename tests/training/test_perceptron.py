"""The chain rule by hand against autograd, and which stacks it is meant for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from training import config
from training.model import ACTIVATIONS, Mlp, Shortcut, perceptron
from training.perceptron import DERIVATIVES, Perceptron

WIDTHS = st.lists(st.integers(1, 40), max_size=3).map(tuple)


def _mlp(width: int = 5, classes: int = 3, **settings: object) -> Mlp:
    return Mlp(width, classes, config.Model.model_validate(settings))


def _by_autograd(mlp: Mlp, features: Tensor, gradient: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(mlp(features), list(mlp.parameters()), gradient))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@given(hidden=WIDTHS, ends=st.tuples(st.integers(1, 40), st.integers(2, 12)), rows=st.integers(1, 33))
def test_by_hand_is_as_by_autograd(activation: str, hidden: tuple[int, ...], ends: tuple[int, int], rows: int) -> None:
    """Logits bit for bit, every gradient but for the last bits, for any widths; what was in `.grad` does not count."""
    torch.manual_seed(rows)
    width, classes = ends
    mlp = _mlp(width, classes, hidden=hidden, activation=activation)
    features, gradient = torch.randn(rows, width), torch.randn(rows, classes)
    stack = Perceptron.of(mlp)
    assert stack is not None
    for weight in mlp.parameters():
        weight.grad = torch.full_like(weight, torch.nan)
    with torch.no_grad():
        passed = stack.forward(features)
        stack.backward(passed, gradient)
    assert torch.equal(passed.logits, mlp(features))
    for weight, expected in zip(mlp.parameters(), _by_autograd(mlp, features, gradient), strict=True):
        assert weight.grad is not None
        assert torch.allclose(weight.grad, expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_nothing_of_an_earlier_batch_stays(activation: str) -> None:
    """Whether it had as many rows, whose room is used again, or others."""
    mlp = _mlp(hidden=(4, 4), activation=activation)
    stack = Perceptron.of(mlp)
    assert stack is not None
    for rows in (6, 6, 2):
        features = torch.randn(rows, 5)
        with torch.no_grad():
            assert torch.equal(stack.forward(features).logits, mlp(features))


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_products_in_parts_are_the_whole_ones(threads: int) -> None:
    """With as many threads as divide every width, some or none: 6, 4 and 3."""
    mlp, features, gradient = _mlp(hidden=(6, 4)), torch.randn(7, 5), torch.randn(7, 3)
    stack = Perceptron.of(mlp)
    assert stack is not None
    for weight in mlp.parameters():
        weight.grad = torch.full_like(weight, torch.nan)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            stack.backward(stack.forward(features), gradient)
    finally:
        torch.set_num_threads(before)
    for weight, expected in zip(mlp.parameters(), _by_autograd(mlp, features, gradient), strict=True):
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, expected)


def test_every_activation_has_its_derivative() -> None:
    """Or its models would be left to autograd without a word."""
    assert {type(make()) for make in ACTIVATIONS.values()} == DERIVATIVES.keys()


@pytest.mark.parametrize("settings", [{"dropout": 0.1}, {"shortcut": True}, {"members": 2}], ids=str)
def test_other_models_are_left_to_autograd(settings: dict[str, object]) -> None:
    """Whatever is more than layer on layer."""
    assert Perceptron.of(perceptron(5, torch.full((3,), 1 / 3), config.Model.model_validate(settings))) is None


def test_a_frozen_weight_is_left_to_autograd() -> None:
    """Its gradient is not wanted."""
    mlp = _mlp()
    next(mlp.parameters()).requires_grad_(False)  # noqa: FBT003  # torch takes it by position only
    assert Perceptron.of(mlp) is None
    assert Perceptron.of(Shortcut(_mlp(), 5, 3)) is None
    assert Perceptron.of(nn.Linear(5, 3)) is None
