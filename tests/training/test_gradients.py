"""The gradients of a classifier in one buffer: the same numbers as autograd's, whichever way they came about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training import tiny
from training import clipping, config, loop, losses, run
from training.features import columns
from training.gradients import Gradients
from training.loop import Progress
from training.losses import LOSSES, Loss
from training.model import Classifier

PLAIN = "model.dropout=0.0"
SHAPES = [[PLAIN], [PLAIN, "model.shortcut=true"], [PLAIN, "model.members=2"], [PLAIN, "model.hidden=[]"]]


def _begin(folder: Path, *overrides: str) -> tuple[config.Run, Progress, list[Any], Tensor]:
    """A run before its first step, and a batch."""
    settings, dataset = tiny.dataset(folder, *overrides)
    rows = slice(0, 32)
    batch = columns.batch(dataset.inputs, dataset.train, rows)
    return settings, run.start(settings, dataset), batch, torch.from_numpy(dataset.train.labels[rows])


def _by_autograd(model: Classifier, batch: list[Any], labels: Tensor, loss: Loss) -> tuple[Tensor, list[Tensor]]:
    value = loss(model.train()(*batch), labels)
    return value, list(torch.autograd.grad(value, list(model.parameters())))


@pytest.mark.parametrize("overrides", SHAPES, ids=" ".join)
@pytest.mark.parametrize("weighed", [False, True], ids=["plain", "class weights"])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_they_are_those_of_autograd(name: str, weighed: bool, overrides: list[str], tmp_path: Path) -> None:
    """Loss and gradients but for the last bits, twice in a row, for every loss and shape of model."""
    _, progress, batch, labels = _begin(tmp_path, *overrides)
    weights = torch.linspace(0.5, 1.5, 10) if weighed else None
    loss = losses.build(config.Loss.model_validate({"name": name}), weights)
    expected_value, expected = _by_autograd(progress.model, batch, labels, loss)
    for _ in range(2):
        value = progress.gradients.fill(batch, labels, loss)
        assert not value.requires_grad
        assert value.item() == pytest.approx(expected_value.item(), rel=1e-6)
        for weight, gradient in zip(progress.model.parameters(), expected, strict=True):
            assert weight.grad is not None
            assert torch.allclose(weight.grad, gradient, rtol=1e-5, atol=1e-6 * gradient.abs().max().item())


@pytest.mark.parametrize("rule", sorted(clipping.RULES))
@pytest.mark.parametrize("overrides", SHAPES, ids=" ".join)
def test_a_rule_clips_the_buffer_as_it_clips_the_tensors(rule: str, overrides: list[str], tmp_path: Path) -> None:
    """What it measures, and what becomes of every weight's gradient; a tight limit, so that it fires."""
    _, progress, batch, labels = _begin(tmp_path, *overrides)
    loss = losses.build(config.Loss())
    limit = 50.0 if rule == "autoclip" else 1e-3
    found, expected = (clipping.NormHistory() for _ in range(2))
    gradients, apart = Gradients(progress.model), list(progress.model.parameters())
    for scale in (1.0, 3.0, 2.0):
        gradients.fill(batch, labels, lambda logits, truth, scale=scale: scale * loss(logits, truth))
        copies = [torch.nn.Parameter(weight.detach().clone()) for weight in apart]
        for copy, weight in zip(copies, apart, strict=True):
            assert weight.grad is not None
            copy.grad = weight.grad.clone()
        one = clipping.RULES[rule](gradients.seen_by(rule), limit, found)
        other = clipping.RULES[rule](copies, limit, expected)
        assert one.norm.item() == pytest.approx(other.norm.item(), rel=1e-6)
        assert (one.largest, one.fired) == (other.largest, other.fired)
        for weight, copy in zip(apart, copies, strict=True):
            assert weight.grad is not None
            assert copy.grad is not None
            assert torch.allclose(weight.grad, copy.grad, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("decay", ["0.0", "0.5"])
def test_a_frozen_weight_stays_as_it_is(decay: str, tmp_path: Path) -> None:
    """It has no gradient, not one of zeros by which weight decay would move it; the others go on."""
    settings, progress, batch, labels = _begin(tmp_path, PLAIN, f"optimizer.weight_decay={decay}")
    frozen, *trained = progress.model.parameters()
    frozen.requires_grad_(False)  # noqa: FBT003  # torch takes it by position only
    before = [weight.detach().clone() for weight in (frozen, *trained)]
    loop.train_step(progress, settings, batch, labels, step=0)
    assert frozen.grad is None
    assert torch.equal(frozen, before[0])
    assert not any(torch.equal(weight, old) for weight, old in zip(trained, before[1:], strict=True))
