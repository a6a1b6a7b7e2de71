"""The moving average of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training import averaging


def _model(value: float) -> nn.Linear:
    model = nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(value)
        model.bias.fill_(0.0)
    return model


def test_the_average_follows_the_weights_by_its_decay() -> None:
    """After many steps its decay is the one given."""
    average: dict[str, torch.Tensor] = {}
    averaging.move(average, _model(1.0), decay=0.9, step=1000)
    averaging.move(average, _model(2.0), decay=0.9, step=1001)
    assert average["weight"].item() == pytest.approx(1.1)


def test_the_first_weights_are_soon_forgotten() -> None:
    """A decay of 0.999 from the start would keep the initialization for a thousand steps."""
    average: dict[str, torch.Tensor] = {}
    for step, value in enumerate([100.0] + [1.0] * 200):
        averaging.move(average, _model(value), decay=0.999, step=step)
    assert average["weight"].item() == pytest.approx(1.0, abs=0.01)


def test_the_average_stands_in_for_the_weights_for_a_while() -> None:
    """Afterwards the model has its own again."""
    model = _model(2.0)
    with averaging.applied({"weight": torch.full((1, 1), 5.0)}, model):
        assert model.weight.item() == 5.0
    assert model.weight.item() == 2.0


def test_no_average_changes_nothing() -> None:
    """An empty one is a run without averaging."""
    model = _model(2.0)
    with averaging.applied({}, model):
        assert model.weight.item() == 2.0
