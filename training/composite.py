"""Several optimizers, each with weights of its own, behind the interface of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import optim


class CompositeOptimizer(optim.Optimizer):
    """Steps each member; one state and one list of groups for all, so a checkpoint sees a single optimizer.

    Args:
        members: optimizers with no weight in common.
    """

    def __init__(self, members: Sequence[optim.Optimizer]) -> None:
        super().__init__([group for member in members for group in member.param_groups], {})
        self.members = list(members)
        for member in members:
            self.state.update(member.state)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        del closure
        for member in self.members:
            member.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Let every member work on this optimizer's state and on its own part of the groups."""
        groups = iter(self.param_groups)
        for member in self.members:
            member.state = self.state
            member.param_groups = [next(groups) for _ in member.param_groups]
