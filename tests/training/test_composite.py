"""Several optimizers as one: the same steps, and one state that a checkpoint can hold."""

from __future__ import annotations

import copy

import torch
from torch import nn, optim

from training.composite import CompositeOptimizer
from training.optimizers import set_learning_rate


def _weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.linspace(-1, 1, 6).reshape(2, 3) + shift) for shift in range(3)]


def _composite(weights: list[nn.Parameter]) -> CompositeOptimizer:
    return CompositeOptimizer([optim.AdamW(weights[:2], lr=0.1), optim.SGD(weights[2:], lr=0.2, momentum=0.9)])


def _step(optimizer: optim.Optimizer, weights: list[nn.Parameter]) -> None:
    optimizer.zero_grad()
    torch.stack([weight.square().sum() for weight in weights]).sum().backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    optimizer.step()


def test_its_steps_are_those_of_its_members() -> None:
    """Bit for bit."""
    together, apart = _weights(), _weights()
    composite = _composite(together)
    members = [optim.AdamW(apart[:2], lr=0.1), optim.SGD(apart[2:], lr=0.2, momentum=0.9)]
    for _ in range(3):
        _step(composite, together)
        for member in members:
            member.zero_grad()
        torch.stack([weight.square().sum() for weight in apart]).sum().backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        for member in members:
            member.step()
    assert all(torch.equal(one, other) for one, other in zip(together, apart, strict=True))


def test_it_goes_on_from_its_state() -> None:
    """A fresh one with the saved state and weights takes the same next steps."""
    weights = _weights()
    optimizer = _composite(weights)
    _step(optimizer, weights)
    state, values = copy.deepcopy(optimizer.state_dict()), [weight.detach().clone() for weight in weights]
    _step(optimizer, weights)
    again = [nn.Parameter(value) for value in values]
    resumed = _composite(again)
    resumed.load_state_dict(state)
    _step(resumed, again)
    assert all(torch.equal(one, other) for one, other in zip(weights, again, strict=True))


def test_a_rate_set_for_all_reaches_every_member() -> None:
    """In proportion, where a group has a rate of its own; also after a state was loaded."""
    optimizer = _composite(_weights())
    optimizer.param_groups[1]["relative_rate"] = 30.0
    optimizer.load_state_dict(optimizer.state_dict())
    set_learning_rate(optimizer, 0.01)
    assert [member.param_groups[0]["lr"] for member in optimizer.members] == [0.01, 0.3]
