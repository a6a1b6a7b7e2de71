"""The sampled softmax: right on average, and nothing in it as large as the classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training import clipping
from training.heads.full import full
from training.heads.sampled import Sampled
from training.row_adagrad import RowAdagrad

_WIDTH = 8


def _layer(classes: int, *, rows: int = 16) -> tuple[Tensor, nn.Parameter, nn.Parameter, Tensor, Tensor]:
    """hidden, weight, bias, labels, shares: frequencies fall like 1 / rank."""
    generator = torch.Generator().manual_seed(1)
    shares = 1.0 / torch.arange(1, classes + 1)
    shares /= shares.sum()
    hidden = torch.randn(rows, _WIDTH, generator=generator, requires_grad=True)
    weight = nn.Parameter(0.7 * torch.randn(classes, _WIDTH, generator=generator))
    bias = nn.Parameter(shares.log().unsqueeze(1))
    labels = torch.multinomial(shares, rows, replacement=True, generator=generator)
    return hidden, weight, bias, labels, shares


def _gradients(loss: Tensor, *weights: Tensor) -> Tensor:
    """All in one vector."""
    found = torch.autograd.grad(loss, weights)
    return torch.cat([(one.to_dense() if one.is_sparse else one).flatten() for one in found])


def _draws(count: int, negatives: int, *, corrected: bool = True) -> tuple[Tensor, Tensor]:
    """The exact gradient, and one sampled gradient a draw: float32 [n], [count, n]."""
    hidden, weight, bias, labels, shares = _layer(60)
    exact = _gradients(full(hidden, weight, bias, labels), hidden, weight, bias)
    sampled = Sampled(shares, negatives)
    if not corrected:
        sampled._log_expected.fill_(math.log(negatives / 60))  # as if drawn evenly
    torch.manual_seed(2)
    return exact, torch.stack(
        [_gradients(sampled(hidden, weight, bias, labels), hidden, weight, bias) for _ in range(count)]
    )


def _deviations(exact: Tensor, found: Tensor) -> Tensor:
    """How many standard errors each element's mean is off."""
    error = found.std(dim=0) / math.sqrt(len(found))
    return ((found.mean(dim=0) - exact) / error.clamp(min=1e-9)).abs()


def test_on_average_its_gradient_is_the_exact_one() -> None:
    """Mean of 200 draws: chance alone puts 5 of 100 elements beyond 1.96 standard errors.

    The logarithm of an unbiased sum is biased by the order of 1 / negatives, so there are many of them here.
    """
    exact, found = _draws(200, 20_000)
    off = _deviations(exact, found)
    assert (off > 1.96).float().mean() < 0.10
    assert off.max() < 5.0


def test_without_the_correction_it_is_another_one() -> None:
    """The same test rejects draws by frequency that are taken as even ones."""
    exact, found = _draws(200, 20_000, corrected=False)
    assert (_deviations(exact, found) > 1.96).float().mean() > 0.5


def test_more_negatives_come_nearer() -> None:
    """The bias and the noise of one draw both fall with the number of negatives."""
    distances = []
    for negatives in (50, 500, 5000):
        exact, found = _draws(40, negatives)
        distances.append((found - exact).norm(dim=1).mean().item())
    assert distances[0] > 2 * distances[1] > 4 * distances[2]


def test_value_and_gradient_are_those_of_the_formula() -> None:
    """Against autograd on the logits written out, with corrections, own class and accidental hits."""
    hidden, weight, bias, labels, shares = _layer(30)
    sampled = Sampled(shares, 40)
    torch.manual_seed(3)
    loss = sampled(hidden, weight, bias, labels)
    torch.manual_seed(3)
    counts = torch.bincount(sampled._draw(), minlength=30)
    logits = functional.linear(hidden, weight, bias.squeeze(1))
    corrected = logits + (counts.log() - (40 * shares).log())
    own = functional.one_hot(labels, 30).bool()
    expected = functional.cross_entropy(torch.where(own, logits, corrected), labels)
    assert counts[labels].any()  # there are accidental hits
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        _gradients(loss, hidden, weight, bias), _gradients(expected, hidden, weight, bias), rtol=1e-4, atol=1e-6
    )


def test_nothing_dense_appears_in_a_step() -> None:
    """Gradients are sparse with each touched row once, the optimizer keeps one number a row, and other rows stay."""
    classes = 50_000
    hidden, weight, bias, labels, shares = _layer(classes)
    optimizer = RowAdagrad([weight, bias], lr=0.1)
    before = weight.detach().clone()
    Sampled(shares, 64)(hidden, weight, bias, labels).backward()  # type: ignore[no-untyped-call]  # torch's
    clipping.RULES["norm"]([weight, bias], 1e-3, clipping.NormHistory())
    for table in (weight, bias):
        assert table.grad is not None
        assert table.grad.is_sparse
        assert table.grad.is_coalesced()
        assert len(table.grad.values()) <= 64 + len(labels)
    optimizer.step()
    assert all(value.numel() <= classes for state in optimizer.state.values() for value in state.values())
    moved = (weight.detach() != before).any(dim=1).nonzero().squeeze(1)
    assert weight.grad is not None
    assert torch.isin(moved, weight.grad.indices()[0]).all()


def test_clipping_counts_the_touched_rows_only() -> None:
    """The norm is that of the dense gradient, and afterwards it is the limit."""
    hidden, weight, bias, labels, shares = _layer(1000)
    Sampled(shares, 64)(hidden, weight, bias, labels).backward()  # type: ignore[no-untyped-call]  # torch's
    assert weight.grad is not None
    assert bias.grad is not None
    dense = math.hypot(weight.grad.to_dense().norm().item(), bias.grad.to_dense().norm().item())
    found = clipping.RULES["norm"]([weight, bias], dense / 2, clipping.NormHistory())
    assert math.isclose(found.norm.item(), dense, rel_tol=1e-5)
    after = math.hypot(weight.grad.values().norm().item(), bias.grad.values().norm().item())
    assert math.isclose(after, dense / 2, rel_tol=1e-5)
