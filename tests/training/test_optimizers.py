"""Schedules against torch's, as pure functions of the progress; optimizers with the settings they were given."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from training import config
from training.optimizers import OPTIMIZERS, SCHEDULES, constant, cosine, one_cycle, set_learning_rate

progresses = st.floats(0.0, 1.0)
warmups = st.floats(0.0, 0.9)


def _rates(optimizer: torch.optim.Optimizer, schedule: LRScheduler, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return rates


def _optimizer(rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)


def test_one_cycle_is_torchs() -> None:
    """Where torch's turning point lies on the same step: it counts to one step less than we do."""
    last, warmup = 40, 0.25
    optimizer = _optimizer(0.02)
    share = (warmup * last + 1) / (last + 1)
    schedule = OneCycleLR(optimizer, 0.02, last + 1, pct_start=share, cycle_momentum=False, final_div_factor=400)
    expected = _rates(optimizer, schedule, last)
    assert [0.02 * one_cycle(step / last, warmup) for step in range(last)] == pytest.approx(expected)


def test_cosine_without_warm_up_is_torchs() -> None:
    """Half a cosine from the full rate to zero."""
    optimizer = _optimizer(0.02)
    expected = _rates(optimizer, CosineAnnealingLR(optimizer, T_max=40), 41)
    assert [0.02 * cosine(step / 40, 0.0) for step in range(41)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("constant", 0.0, 1.0), ("cosine", 0.0, 0.0), ("linear", 0.0, 0.0), ("one_cycle", 1 / 25, 1e-4)],
)
def test_a_schedule_begins_peaks_and_ends_where_it_should(name: str, first: float, last: float) -> None:
    """At the start of the warm-up, its end, and the end of the run."""
    factors = [SCHEDULES[name](progress, 0.25) for progress in (0.0, 0.25, 1.0)]
    assert factors == pytest.approx([first, 1.0, last])


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@given(progress=progresses, warmup=warmups)
def test_a_factor_lies_between_zero_and_one_and_depends_on_nothing_else(
    name: str, progress: float, warmup: float
) -> None:
    """So a resumed run goes on exactly where it was."""
    factor = SCHEDULES[name](progress, warmup)
    assert 0.0 <= factor <= 1.0 + 1e-12
    assert SCHEDULES[name](progress, warmup) == factor


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@given(pair=st.tuples(progresses, progresses), warmup=warmups)
def test_the_rate_rises_before_the_peak_and_falls_after_it(name: str, pair: tuple[float, float], warmup: float) -> None:
    """Never the other way round."""
    early, late = sorted(pair)
    factors = SCHEDULES[name](early, warmup), SCHEDULES[name](late, warmup)
    if late < warmup:
        assert factors[0] <= factors[1] + 1e-12
    if early >= warmup:
        assert factors[0] >= factors[1] - 1e-12


def test_without_warm_up_constant_is_one() -> None:
    """From the first step on."""
    assert {constant(step / 10, 0.0) for step in range(11)} == {1.0}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_an_optimizer_has_its_settings(name: str) -> None:
    """Matrices decay, biases do not; a rate that is set later replaces the first in every group."""
    settings = config.Optimizer(name=name, learning_rate=0.125, weight_decay=0.5, momentum=0.25)
    optimizer = OPTIMIZERS[name]([nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, 3))], settings)
    found = {(group["params"][0].dim(), group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert found == {(1, 0.125, 0.0), (2, 0.125, 0.5)}
    assert {group.get("momentum", 0.25) for group in optimizer.param_groups} == {0.25}
    set_learning_rate(optimizer, 0.0625)
    assert {group["lr"] for group in optimizer.param_groups} == {0.0625}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_first_step_is_the_textbooks(name: str) -> None:
    """From weight 1 with gradient 2, rate 0.1 and weight decay 0.5."""
    parameter = nn.Parameter(torch.ones(1, 1))
    optimizer = OPTIMIZERS[name]([parameter], config.Optimizer(name=name, learning_rate=0.1, weight_decay=0.5))
    parameter.grad = torch.full((1, 1), 2.0)
    optimizer.step()
    expected = {"sgd": 1 - 0.1 * 2.5, "adam": 1 - 0.1, "adamw": (1 - 0.1 * 0.5) - 0.1}[name]
    assert math.isclose(parameter.item(), expected, rel_tol=1e-6)
