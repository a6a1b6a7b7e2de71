"""Adam on weights that lie side by side: torch's numbers, and torch's own step as soon as they do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn, optim

from tests.training import tiny
from training import config, loop, run
from training.adam import Adam
from training.loop import Progress

DECAYS = pytest.mark.parametrize(
    "overrides", [["adam"], ["adamw"], ["adamw", "optimizer.weight_decay=0.1"]], ids=" ".join
)


def _begin(
    folder: Path, name: str, *overrides: str
) -> tuple[config.Run, Progress, Iterator[tuple[list[Tensor], Tensor]]]:
    """A run before its first step, and its batches."""
    settings, dataset = tiny.dataset(folder, f"optimizer.name={name}", "model.dropout=0.0", *overrides)
    return settings, run.start(settings, dataset), loop.batches(settings, dataset, epoch=0)


def _torchs(progress: Progress, weights: list[nn.Parameter]) -> optim.Adam:
    """Torch's optimizer, one tensor at a time, over copies of the weights in the same groups."""
    copies = dict(zip(progress.model.parameters(), weights, strict=True))
    groups = [
        {**group, "params": [copies[weight] for weight in group["params"]]} for group in progress.optimizer.param_groups
    ]
    return optim.Adam(groups, fused=True)


def _copies(progress: Progress) -> list[nn.Parameter]:
    return [nn.Parameter(weight.detach().clone()) for weight in progress.model.parameters()]


@DECAYS
def test_it_steps_as_torchs(overrides: list[str], tmp_path: Path) -> None:
    """Weights and state but for the last bits, with rates and decays of groups, under torch's names and shapes."""
    settings, progress, batches = _begin(tmp_path, *overrides)
    copies = _copies(progress)
    expected = _torchs(progress, copies)
    for _, (batch, labels) in zip(range(4), batches, strict=False):
        loop.train_step(progress, settings, batch, labels, step=0)
        for copy, weight in zip(copies, progress.model.parameters(), strict=True):
            assert weight.grad is not None
            copy.grad = weight.grad.clone()
        expected.step()
    for copy, weight in zip(copies, progress.model.parameters(), strict=True):
        assert torch.allclose(weight, copy, rtol=1e-6, atol=1e-7)
        found = progress.optimizer.state[weight]
        assert found.keys() == expected.state[copy].keys()
        assert all(torch.allclose(found[key], value, rtol=1e-5) for key, value in expected.state[copy].items())
    assert _calls(progress.optimizer) == len(progress.optimizer.param_groups)


def test_a_loaded_state_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Also into an optimizer that has already stepped: it must not go on from its own moments."""
    settings, one, batches = _begin(tmp_path / "one", "adam")
    _, other, _ = _begin(tmp_path / "other", "adam")
    steps = list(batches)[:3]
    for progress, step in ((one, 0), (other, 1)):
        loop.train_step(progress, settings, *steps[step], step=0)
    other.model.load_state_dict(one.model.state_dict())
    copied = {
        key: {name: value.clone() for name, value in each.items()}
        for key, each in one.optimizer.state_dict()["state"].items()
    }
    other.optimizer.load_state_dict({**other.optimizer.state_dict(), "state": copied})
    for progress in (one, other):
        loop.train_step(progress, settings, *steps[2], step=1)
    assert all(map(torch.equal, one.model.parameters(), other.model.parameters()))


def test_a_gradient_of_its_own_is_left_to_torchs_step(tmp_path: Path) -> None:
    """A `.grad` that somebody replaces is the one that counts, and so are the moments from before."""
    settings, progress, batches = _begin(tmp_path, "adam")
    batch, labels = next(batches)
    loop.train_step(progress, settings, batch, labels, step=0)
    weight = next(progress.model.parameters())
    before = weight.detach().clone()
    weight.grad = torch.full_like(weight, 1e6)
    progress.optimizer.step()
    assert _calls(progress.optimizer) == 0
    assert (weight < before).all()
    assert {float(state["step"]) for state in progress.optimizer.state.values()} == {2.0}


def test_weights_that_lie_apart_are_left_to_torchs_step() -> None:
    """As those of encoders do, whose gradients come new in every step."""
    weights = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = Adam(weights, learning_rate=0.1, decoupled=False)
    for _ in range(2):
        for weight in weights:
            weight.grad = torch.ones(3)
        optimizer.step()
    assert _calls(optimizer) == 0
    assert torch.allclose(weights[1], torch.full((3,), 0.8))


def _calls(optimizer: optim.Optimizer) -> int:
    """How many calls of the kernel a step takes; 0 where it is torch's."""
    assert isinstance(optimizer, Adam)
    return len(optimizer._joined or [])
