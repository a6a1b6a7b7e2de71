"""Rows and classes → directions that stand for them."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.prototypes import normalized, prototypes


def _groups(centres: torch.Tensor, rows: int) -> torch.Tensor:
    """So many rows around each centre, in turn."""
    return centres.repeat(rows, 1) + 0.01 * torch.randn(rows * len(centres), centres.shape[1])


def test_each_group_of_a_class_gets_a_prototype() -> None:
    """Three groups of one class, two of another; every row has a prototype near it."""
    torch.manual_seed(0)
    rows = torch.cat([_groups(torch.eye(6)[:3], 20), _groups(torch.eye(6)[3:5], 20)])
    labels = torch.tensor([0] * 60 + [1] * 40)
    found = prototypes(rows, labels)
    assert (normalized(rows) @ found.T).amax(dim=1).min() > 0.99


@settings(max_examples=25)
@given(counts=st.lists(st.integers(1, 120), min_size=1, max_size=5), most=st.integers(1, 12))
def test_small_classes_get_fewer_prototypes(counts: list[int], most: int) -> None:
    """One for five rows, at least one, at most so many; all of length 1, in the classes' order."""
    torch.manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    found = prototypes(torch.randn(len(labels), 4), labels, most=most)
    assert len(found) == sum(max(1, min(most, count // 5)) for count in counts)
    assert torch.allclose(found.norm(dim=1), torch.ones(len(found)), atol=1e-5)


def test_the_same_rows_give_the_same_prototypes() -> None:
    """Whatever was drawn before."""
    rows, labels = torch.randn(300, 8), torch.arange(300) % 3
    first = prototypes(rows, labels)
    torch.rand(7)
    assert torch.equal(prototypes(rows, labels), first)


def test_many_classes_get_one_each() -> None:
    """So that the graph stays small."""
    labels = torch.arange(12_000) % 1_000
    assert len(prototypes(torch.randn(12_000, 2), labels)) == 1_000


def test_rows_of_zeros_do_no_harm() -> None:
    """Nothing of no length is divided by."""
    found = prototypes(torch.zeros(20, 3), torch.zeros(20, dtype=torch.int64))
    assert torch.isfinite(found).all()
