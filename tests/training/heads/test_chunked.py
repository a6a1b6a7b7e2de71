"""The exact loss a chunk at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training.heads.chunked import chunked


def _layer(rows: int, width: int, classes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(classes, width, generator=generator, dtype=dtype, requires_grad=True)
    bias = torch.randn(classes, 1, generator=generator, dtype=dtype, requires_grad=True)
    return hidden, weight, bias, torch.randint(classes, (rows,), generator=generator)


@pytest.mark.parametrize("chunk", [1, 4, 7, 100])
def test_its_gradient_is_that_of_its_value(chunk: int) -> None:
    """Numerical derivatives in double agree, whether the chunks divide the classes or not."""
    hidden, weight, bias, labels = _layer(5, 3, 11, torch.float64)

    def value(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return chunked(hidden, weight, bias, labels, chunk=chunk)

    assert torch.autograd.gradcheck(value, (hidden, weight, bias))


@pytest.mark.parametrize("chunk", [64, 300, 1000])
def test_value_and_gradients_are_those_of_torch(chunk: int) -> None:
    """Over all classes at once, torch's cross-entropy gives the same to 1e-6."""
    hidden, weight, bias, labels = _layer(32, 16, 300, torch.float32)
    theirs = functional.cross_entropy(functional.linear(hidden, weight, bias.squeeze(1)), labels)
    expected = torch.autograd.grad(theirs, (hidden, weight, bias))
    ours = chunked(hidden, weight, bias, labels, chunk=chunk)
    found = torch.autograd.grad(ours, (hidden, weight, bias))
    assert abs(ours.item() - theirs.item()) <= 1e-6 * max(1.0, theirs.item())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_logits_of_ten_thousand_stay_finite() -> None:
    """Each chunk subtracts its own maximum, and chunks are joined in logarithms."""
    hidden = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    weight = torch.tensor([[1e4], [-1e4], [0.0]], requires_grad=True)
    bias = torch.zeros(3, 1, requires_grad=True)
    loss = chunked(hidden, weight, bias, torch.tensor([0, 0]), chunk=1)
    loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    assert loss.item() == pytest.approx(1e4)
    assert hidden.grad is not None
    assert torch.isfinite(hidden.grad).all()
