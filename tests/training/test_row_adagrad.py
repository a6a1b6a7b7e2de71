"""Row-wise Adagrad against the same rule written densely, and its promise to touch the batch's rows only."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.row_adagrad import RowAdagrad

ROWS, WIDTH = 12, 5


def _sparse(rows: list[int], generator: torch.Generator) -> torch.Tensor:
    values = torch.randn(len(rows), WIDTH, generator=generator)
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (ROWS, WIDTH), check_invariants=True)


def test_it_equals_the_dense_rule_on_the_touched_rows() -> None:
    """Over several steps, rows named twice in a batch included."""
    generator = torch.Generator().manual_seed(0)
    table = nn.Parameter(torch.randn(ROWS, WIDTH, generator=generator))
    expected, sums = table.detach().clone(), torch.zeros(ROWS)
    optimizer = RowAdagrad([table], lr=0.1)
    for rows in ([1, 3, 3], [0, 3], [7], [1, 11, 1]):
        table.grad = _sparse(rows, generator)
        dense = table.grad.to_dense()
        sums += dense.square().mean(dim=1)
        expected -= torch.where(sums[:, None] > 0, 0.1 * dense / (sums[:, None].sqrt() + 1e-10), 0.0)
        optimizer.step()
    torch.testing.assert_close(table.detach(), expected)
    torch.testing.assert_close(optimizer.state[table]["sum"], sums)


def test_other_rows_stay_bit_for_bit() -> None:
    """Neither weight nor state of a row outside the batch moves."""
    generator = torch.Generator().manual_seed(1)
    table = nn.Parameter(torch.randn(ROWS, WIDTH, generator=generator))
    before = table.detach().clone()
    optimizer = RowAdagrad([table], lr=0.1)
    table.grad = _sparse([2, 5], generator)
    optimizer.step()
    moved = (table.detach() != before).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [2, 5]
    assert optimizer.state[table]["sum"].nonzero().flatten().tolist() == [2, 5]


def test_its_state_is_one_number_a_row() -> None:
    """Never as large as the table."""
    optimizer = RowAdagrad([table := nn.Parameter(torch.zeros(ROWS, WIDTH))], lr=0.1)
    assert {name: tuple(value.shape) for name, value in optimizer.state[table].items()} == {"sum": (ROWS,)}


def test_a_dense_gradient_is_refused() -> None:
    """It would touch, and cost, the whole table at every step."""
    table = nn.Parameter(torch.zeros(ROWS, WIDTH))
    table.grad = torch.ones(ROWS, WIDTH)
    with pytest.raises(TypeError, match="expected a sparse gradient"):
        RowAdagrad([table], lr=0.1).step()


def test_no_gradient_is_no_step() -> None:
    """A table whose text is in no row of the batch."""
    optimizer = RowAdagrad([table := nn.Parameter(torch.ones(ROWS, WIDTH))], lr=0.1)
    optimizer.step()
    assert bool((table == 1).all())
