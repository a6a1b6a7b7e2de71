"""The perceptron's layers, and the softmax that is exported with it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from training import config
from training.features.encoders import Placed
from training.model import ACTIVATIONS, Calibrated, Classifier, Mlp


def _passing_on() -> Classifier:
    return Classifier([Placed(nn.Identity(), (0,))], nn.Identity())


def _softmax(logits: Tensor, temperature: float) -> Tensor:
    """Probabilities of given logits: `Calibrated` around a classifier that passes them on."""
    _, probabilities = Calibrated(_passing_on(), temperature)(logits)
    assert isinstance(probabilities, Tensor)
    return probabilities


logits_rows = st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=8)
temperatures = st.floats(0.01, 100)


@given(logits_rows, temperatures)
def test_probabilities_are_finite_and_sum_to_one(row: list[float], temperature: float) -> None:
    """For every logit up to ±10,000 and every temperature that a fit can give."""
    probabilities = _softmax(torch.tensor([row]), temperature)
    assert torch.isfinite(probabilities).all()
    assert (probabilities >= 0).all()
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-5)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=8), st.integers(-9000, 9000))
def test_a_shift_of_all_logits_changes_nothing(row: list[int], shift: int) -> None:
    """Whole numbers, so that the shifted logits are exact in float32."""
    logits = torch.tensor([row], dtype=torch.float32)
    assert torch.equal(_softmax(logits, 1.0), _softmax(logits + shift, 1.0))


def test_the_row_that_a_wrong_maximum_turns_into_nan() -> None:
    """Subtracting the maximum of another row, or none, gives NaN or infinity here."""
    probabilities = _softmax(torch.tensor([[-95.0, 10.0], [-1e4, 1e4], [0.0, 0.0]]), 1.0)
    assert probabilities[1:].tolist() == [[0.0, 1.0], [0.5, 0.5]]
    assert probabilities[0, 0].item() == pytest.approx(0.0, abs=1e-30)


def test_temperature_divides_the_logits_and_leaves_them() -> None:
    """The logits that are exported are those before temperature."""
    logits = torch.tensor([[0.0, 2.0 * math.log(3.0)]])
    found, probabilities = Calibrated(_passing_on(), 2.0)(logits)
    assert torch.equal(found, logits)
    torch.testing.assert_close(probabilities, torch.tensor([[0.25, 0.75]]))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("hidden", [(), (5,), (7, 3)])
def test_layers_are_as_configured(activation: str, hidden: tuple[int, ...]) -> None:
    """Linear, activation and dropout for each width, then one Linear to the logits."""
    settings = config.Model.model_validate({"hidden": hidden, "activation": activation, "dropout": 0.5})
    mlp = Mlp(11, 4, settings)
    widths = [(layer.in_features, layer.out_features) for layer in mlp if isinstance(layer, nn.Linear)]
    assert widths == list(zip((11, *hidden), (*hidden, 4), strict=True))
    kinds = [type(layer) for layer in mlp]
    assert kinds == [nn.Linear, type(ACTIVATIONS[activation]()), nn.Dropout] * len(hidden) + [nn.Linear]
    assert mlp(torch.zeros(3, 11)).shape == (3, 4)


def test_he_initialization_has_its_variance() -> None:
    """2 over the inputs, biases zero."""
    torch.manual_seed(0)
    first = Mlp(400, 2, config.Model(hidden=(1000,), initialization="he"))[0]
    assert isinstance(first, nn.Linear)
    assert first.weight.var().item() == pytest.approx(2 / 400, rel=0.02)
    assert not first.bias.any()
