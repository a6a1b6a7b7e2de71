"""Last layers that are options: right answers, right gradients, and plain softmax as a special case."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from training import config
from training.heads import table
from training.heads.adaptive import Adaptive
from training.heads.head import Head
from training.heads.mixture import Mixture
from training.heads.plif import RANGE, Plif
from training.heads.sigsoftmax import Sigsoftmax

OPTIONS = ("plif", "sigsoftmax", "mixture", "adaptive")


def _head(name: str, *, classes: int = 50, width: int = 6) -> Head:
    """With every weight at a random place, in double precision."""
    shares = torch.arange(classes, 0, -1).float()
    head = table.build(width, shares / shares.sum(), config.Head(name=name, components=3, pieces=8)).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator, dtype=torch.float64), alpha=0.5)
    return head


def _hidden(rows: int, *, width: int = 6, seed: int = 1) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_loss_is_that_of_the_answered_probabilities(name: str) -> None:
    """Also where it is computed without making all logits."""
    head, hidden, labels = _head(name), _hidden(9), torch.arange(9) * 5
    probabilities = torch.softmax(head(hidden), dim=1)
    expected = -probabilities[torch.arange(9), labels].log().mean()
    assert head.loss(hidden, labels).item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
def test_chunks_and_true_logits_are_parts_of_all_logits(name: str) -> None:
    """Judging sees them that way."""
    head, hidden, labels = _head(name), _hidden(4), torch.tensor([0, 49, 7, 23])
    logits = head(hidden)
    assert torch.equal(torch.cat([found for _, found in head.chunks(hidden, 16)], dim=1), logits)
    assert torch.equal(head.true_logits(hidden, labels), logits[torch.arange(4), labels])


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    """By the hidden values and by every weight, in double precision."""
    head, hidden, labels = _head(name, classes=9), _hidden(3), torch.tensor([0, 8, 4])
    names, weights = zip(*head.named_parameters(), strict=True)

    def loss(hidden: Tensor, *values: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(
            _Loss(head), {f"head.{name}": value for name, value in zip(names, values, strict=True)}, (hidden, labels)
        )
        return found

    inputs = (hidden.requires_grad_(), *(weight.detach().clone().requires_grad_() for weight in weights))
    assert torch.autograd.gradcheck(loss, inputs)


class _Loss(nn.Module):
    """`functional_call` calls `forward` only."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, hidden: Tensor, labels: Tensor) -> Tensor:
        return self.head.loss(hidden, labels)


@pytest.mark.parametrize("name", ["mixture", "adaptive"])
@given(seed=st.integers(0, 1000), scale=st.sampled_from([0.1, 1.0, 30.0, 1000.0]))
def test_what_is_answered_as_logits_are_logarithms_of_probabilities(name: str, seed: int, scale: float) -> None:
    """Their exponentials sum to 1 by themselves, however large the hidden values."""
    logits = _head(name)(scale * _hidden(5, seed=seed))
    torch.testing.assert_close(logits.exp().sum(dim=1), torch.ones(5, dtype=torch.float64), rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("function", [Plif(16), Sigsoftmax()])
@given(values=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=30))
def test_bent_logits_are_finite_and_keep_their_order(function: nn.Module, values: list[float]) -> None:
    """From -1e30 to 1e30 and more: where logsigmoid as it is exported would be NaN below -104, too."""
    ordered = torch.tensor(sorted(values))
    bent = function(ordered)
    assert torch.isfinite(bent).all()
    assert (bent.diff() >= 0).all()


@given(values=st.lists(st.floats(-60, 60, width=32), min_size=2, max_size=30))
def test_the_first_curve_changes_nothing(values: list[float]) -> None:
    """Before training, PLIF is plain softmax."""
    logits = torch.tensor([values])
    torch.testing.assert_close(Plif(64)(logits), logits, rtol=1e-6, atol=1e-5)


def test_a_curve_has_the_slopes_that_it_learned() -> None:
    """Two pieces: half as steep below 0, three times as steep above, and so beyond the range."""
    curve = Plif(2)
    with torch.no_grad():
        curve.log_slopes.copy_(torch.tensor([0.5, 3.0]).log())
    points = torch.tensor([-2 * RANGE, -RANGE, 0.0, 1.0, RANGE, 2 * RANGE])
    found = curve(points).diff() / points.diff()
    torch.testing.assert_close(found, torch.tensor([0.5, 0.5, 3.0, 3.0, 3.0]))


def test_sigsoftmax_is_proportional_to_exp_times_sigmoid() -> None:
    """As the paper defines it."""
    logits = torch.linspace(-8, 8, 33, dtype=torch.float64)
    weights = logits.exp() * torch.sigmoid(logits)
    torch.testing.assert_close(torch.softmax(Sigsoftmax()(logits), dim=0), weights / weights.sum())


def test_a_mixture_of_one_is_a_softmax() -> None:
    """Over its one vector of latent values."""
    head = Mixture("mixture", 6, torch.full((20,), 0.05), 1).double()
    hidden = _hidden(4)
    plain = functional.linear(torch.tanh(head.latent(hidden)), head.weight, head.bias)
    torch.testing.assert_close(head(hidden), torch.log_softmax(plain, dim=1))


def test_a_mixture_has_a_higher_rank_than_its_width() -> None:
    """Width 6 allows a softmax the rank 7."""
    assert torch.linalg.matrix_rank(_head("mixture")(_hidden(200))) > 7


@pytest.mark.parametrize("classes", [2, 3, 10, 101])
def test_adaptive_clusters_hold_every_class_once(classes: int) -> None:
    """However few there are, and the rarer ones behind the more frequent."""
    shares = torch.rand(classes, generator=torch.Generator().manual_seed(0))
    head = Adaptive("adaptive", 12, shares / shares.sum())
    logits = head(torch.rand(3, 12))
    assert logits.shape == (3, classes)
    assert head.places[shares.argmax()] == 0
    assert sorted(head.places.tolist()) == list(range(classes))


@pytest.mark.parametrize("name", OPTIONS)
def test_no_option_is_taken_by_itself(name: str) -> None:
    """Whatever the number of classes."""
    assert name not in {table.choose(classes) for classes in (2, 10_000, 10_001, 50_001, 1_000_000)}


def test_only_heads_that_rank_like_a_line_have_vectors() -> None:
    """Which the exact test of reachability needs."""
    assert {name for name in table.HEADS if _head(name).vectors() is not None} == {
        "full",
        "chunked",
        "sampled",
        "plif",
        "sigsoftmax",
    }
