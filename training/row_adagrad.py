"""Adagrad for tables of embeddings: one step size a row, and only the rows of this batch are touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn, optim


class RowAdagrad(optim.Optimizer):
    """Row-wise Adagrad (Duchi et al. 2011; per row: Gupta et al. 2014, Naumov et al. 2019, DLRM).

    A row that this batch holds: sum += mean(g²), row -= lr · g / (sqrt(sum) + eps). Its cost grows with the batch,
    not with the table, and its state is one number a row.

    Args:
        parameters: tables, float32 [rows, width].
        lr: the learning rate.
        eps: keeps the first step of a tiny gradient small.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float, eps: float = 1e-10) -> None:
        super().__init__(parameters, {"lr": lr, "eps": eps})
        for group in self.param_groups:
            for table in group["params"]:
                self.state[table]["sum"] = torch.zeros(len(table), dtype=torch.float32, device=table.device)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move the touched rows.

        Raises:
            TypeError: a dense gradient, which would touch, and cost, the whole table.
        """
        del closure
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    _move(table, table.grad, self.state[table], group)


def _move(table: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    if not gradient.is_sparse:
        raise TypeError(f"expected a sparse gradient, got a dense one of shape {list(gradient.shape)}")
    gradient = gradient.coalesce()
    rows, values = gradient.indices()[0], gradient.values()
    total = state["sum"].index_select(0, rows) + values.square().mean(dim=1)
    state["sum"].index_copy_(0, rows, total)
    table.index_add_(0, rows, values / (total.sqrt() + group["eps"]).unsqueeze(1), alpha=-group["lr"])
