"""The figures are those of torch's own autograd and linear algebra, and every one gets its sentence."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clipmax.refusal import Refusal
from training.diagnostics import DeadUnits, Diagnostics, logit_rank, measure, sentences


def figures(logits: Tensor, labels: Tensor, **others: Any) -> Diagnostics:
    """Of logits and labels, without layers unless given."""
    given: dict[str, Any] = {"hidden": {}, "gradients": {}, "width": 8}
    return measure(logits=logits, labels=labels, **given | others)


def random_rows(seed: int = 0, rows: int = 200, classes: int = 5, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Normal logits and labels that have nothing to do with them."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, classes, generator=generator)
    return logits, torch.randint(0, classes, (rows,), generator=generator)


def test_the_logit_gradient_is_the_one_that_autograd_computes() -> None:
    """Mean over rows of the norm of d cross-entropy / d logits, and below √2."""
    logits, labels = random_rows()
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, labels, reduction="sum"), logits)
    found = figures(logits, labels)
    assert found.logit_gradient == pytest.approx(float(gradient.norm(dim=1).mean()), rel=1e-5)
    assert figures(100 * logits, labels).logit_gradient <= math.sqrt(2) + 1e-6


def test_entropy_is_that_of_torch_and_uniform_rows_have_log_k() -> None:
    """In nats, also where probabilities are 0."""
    logits, labels = random_rows()
    expected = torch.special.entr(logits.double().softmax(dim=1)).sum(dim=1).mean()
    assert figures(logits, labels).entropy == pytest.approx(float(expected), rel=1e-5)
    assert figures(torch.zeros(3, 7), torch.zeros(3, dtype=torch.int64)).entropy == pytest.approx(math.log(7))
    assert figures(1e4 * logits, labels).entropy == pytest.approx(0.0, abs=1e-6)


def test_saturation_counts_what_float32_rounds_to_1() -> None:
    """Gaps of 5, 8, 12 and 20: above 0.999 are three, exactly 1 is one; the margin is the mean gap."""
    logits = torch.tensor([[5.0, 0.0], [8.0, 0.0], [12.0, 0.0], [20.0, 0.0]])
    found = figures(logits, torch.zeros(4, dtype=torch.int64))
    assert (found.confident, found.saturated) == (0.75, 0.25)
    assert found.margin == 11.25


def test_the_gradient_of_a_saturated_row_is_small_but_not_rounded_to_0() -> None:
    """Its p is 1 in float32 and 1 - p still 2e-9."""
    found = figures(torch.tensor([[20.0, 0.0]]), torch.tensor([0]))
    assert found.saturated == 1.0
    assert found.logit_gradient == pytest.approx(math.sqrt(2) * math.exp(-20), rel=1e-4)


def test_a_wrong_row_has_a_negative_margin_and_the_largest_gradient() -> None:
    """Certain of the wrong class: √2."""
    found = figures(torch.tensor([[0.0, 30.0, 0.0]]), torch.tensor([0]))
    assert found.margin == -30.0
    assert found.logit_gradient == pytest.approx(math.sqrt(2))


def test_gradients_of_a_layer_are_joined() -> None:
    """Weight and bias of a real network; the joined norms give the global norm."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))
    logits, labels = model(torch.randn(40, 6)), torch.arange(40) % 5
    names, parameters = zip(*model.named_parameters(), strict=True)
    loss = nn.functional.cross_entropy(logits, labels)
    gradients = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
    found = figures(logits, labels, gradients=gradients)
    assert list(found.gradient_norms) == ["0", "2"]
    total = torch.nn.utils.get_total_norm(list(gradients.values()))
    assert math.hypot(*found.gradient_norms.values()) == pytest.approx(float(total), rel=1e-6)


def test_dead_units_were_never_above_zero() -> None:
    """Two of four; one active row is enough to live."""
    activations = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 2.0, 0.0, 1e-6]])
    logits, labels = random_rows(rows=2)
    found = figures(logits, labels, hidden={"mlp.0": activations})
    assert found.dead_units == {"mlp.0": DeadUnits(dead=2, units=4)}


@pytest.mark.parametrize(("rows", "classes", "width"), [(400, 50, 3), (60, 300, 20), (300, 10, 64), (30, 30, 29)])
def test_the_rank_of_logits_is_at_most_width_plus_1(rows: int, classes: int, width: int) -> None:
    """A linear layer with bias in float32; equal to torch.linalg.matrix_rank."""
    torch.manual_seed(rows)
    logits = nn.Linear(width, classes)(torch.randn(rows, width)).detach()
    found, limit = logit_rank(logits, width)
    assert found == limit == min(rows, classes, width + 1)
    assert found == int(torch.linalg.matrix_rank(logits))


def test_a_collapsed_last_layer_shows_as_a_low_rank() -> None:
    """64 values a row that are all multiples of two."""
    torch.manual_seed(0)
    features = torch.randn(500, 2) @ torch.randn(2, 64)
    logits = nn.Linear(64, 100)(features).detach()
    assert logit_rank(logits, 64) == (3, 65)


def test_logits_that_are_all_zero_have_rank_0() -> None:
    """Before the first step of a model that starts at zero."""
    assert logit_rank(torch.zeros(20, 5), 8)[0] == 0


def test_the_rank_of_many_classes_looks_at_a_bounded_sample() -> None:
    """At most 512 rows and 2,048 classes; the limit says so."""
    torch.manual_seed(0)
    logits = nn.Linear(2000, 5000)(torch.randn(600, 2000)).detach()
    assert logit_rank(logits, 2000) == (512, 512)


def test_all_figures_are_plain_numbers_and_the_sample_is_left_alone() -> None:
    """No tensor keeps a graph or a device alive."""
    logits, labels = random_rows()
    before = logits.clone()
    found = figures(logits, labels, hidden={"0": logits.relu()}, gradients={"0.weight": logits})
    assert torch.equal(logits, before)
    numbers = [getattr(found, field.name) for field in fields(found)]
    numbers += [*found.gradient_norms.values(), found.dead_units["0"].dead]
    assert not [value for value in numbers if isinstance(value, Tensor)]
    assert found.seconds > 0.0


def test_every_figure_has_one_sentence() -> None:
    """With the figure in it, a colon, and an end; layers that need nothing share one, as do those of dead units."""
    logits, labels = random_rows()
    dead = torch.zeros_like(logits)
    hidden = {"a": logits, "b": logits, "first": dead, "second": dead}
    found = figures(logits, labels, hidden=hidden, gradients={"c.weight": logits / 100, "d.weight": logits / 99})
    texts = sentences(found)
    assert len(texts) == 5 + 1 + 2 + 1
    assert any("of first, " in text and "of second; they cannot learn" in text for text in texts)
    for text in texts:
        assert text.endswith(".")
        assert ": " in text


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"confident": 0.9}, "hardly train any more"),
        ({"saturated": 0.5}, "taken from logits"),
        ({"logit_gradient": 0.001}, "training can end"),
        ({"logit_gradient": 1.2}, "mostly wrong"),
        ({"entropy": 1.6}, "uniform guess"),
        ({"margin": -1.0}, "more often wrong"),
        ({"margin": 20.0}, "weight decay"),
        ({"gradient_norms": {"a": 0.0, "b": 1.0}}, "does not learn at all"),
        ({"gradient_norms": {"a": 1e-5, "b": 1.0}}, "starves"),
        ({"gradient_norms": {"a": 300.0}}, "clip by norm"),
        ({"dead_units": {"a": DeadUnits(dead=60, units=100)}}, "cannot learn any more"),
        ({"rank": 2}, "few directions"),
        ({"width": 3}, "can never be answered"),
    ],
)
def test_a_figure_out_of_the_ordinary_says_what_to_do(change: dict[str, Any], advice: str) -> None:
    """Starting from a healthy run, in which no sentence asks for anything."""
    healthy = Diagnostics(
        rows=100,
        classes=5,
        confident=0.2,
        saturated=0.0,
        logit_gradient=0.2,
        entropy=0.5,
        margin=3.0,
        gradient_norms={"a": 0.5, "b": 1.0},
        dead_units={"a": DeadUnits(dead=0, units=100)},
        width=64,
        rank=5,
        rank_limit=5,
        seconds=0.01,
    )
    assert not any(advice in text for text in sentences(healthy))
    assert sum(advice in text for text in sentences(replace(healthy, **change))) == 1


@pytest.mark.parametrize(
    ("logits", "labels", "field"),
    [
        (torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), "logits"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "logits"),
        (torch.tensor([[0.0, torch.nan]]), torch.tensor([0]), "logits"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "labels"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), "labels"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), "labels"),
        (torch.zeros(2, 3), torch.tensor([0]), "labels"),
    ],
)
def test_a_sample_without_figures_is_refused(logits: Tensor, labels: Tensor, field: str) -> None:
    """Not finite, no rows, one class, labels outside the classes, not integers or of another length."""
    with pytest.raises(Refusal) as refused:
        figures(logits, labels)
    assert refused.value.field == field
