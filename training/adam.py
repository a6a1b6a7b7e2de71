"""Adam in one call of torch's fused kernel a group, where the group's weights lie side by side in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn, optim


class Adam(optim.Adam):
    """As torch's, whose step looks at each tensor by itself, and takes a small network longer than the arithmetic.

    The state is kept weight by weight under torch's names, so that a checkpoint does not tell the two apart. Weights
    that lie apart, or of which somebody replaces `.grad`, are left to torch's step.

    Args:
        groups: as torch takes them.
        learning_rate: of all groups, until `param_groups` says otherwise.
        decoupled: let weight decay act on the weights, apart from the gradient (AdamW).
    """

    def __init__(self, groups: Iterable[Any], *, learning_rate: float, decoupled: bool) -> None:
        super().__init__(groups, lr=learning_rate, decoupled_weight_decay=decoupled, fused=True)
        self._joined: list[_Joined] | None = None

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step along every `.grad`; no closure is called."""
        del closure
        if self._joined is None:
            self._joined = self._join()
        if not all(joined.stands() for joined in self._joined):
            self._joined = []
        if not self._joined:
            super().step()
        for joined, group in zip(self._joined, self.param_groups, strict=False):
            joined.step(group)

    # Else torch wraps it for profilers and hooks that nobody here sets, which took longer than half of the kernel.
    step.hooked = True  # type: ignore[attr-defined]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._joined = None

    def _join(self) -> list[_Joined]:
        """One of each group, or none at all."""
        weights = [[weight for weight in group["params"] if weight.requires_grad] for group in self.param_groups]
        return [_Joined.of(each, self.state) for each in weights] if all(map(_are_joined, weights)) else []


@dataclass(frozen=True, slots=True, eq=False)
class _Joined:
    """The weights of one group, and each of their four tensors in one piece."""

    weights: Sequence[nn.Parameter]
    gradients: Sequence[Tensor | None]
    steps: Tensor
    """float32 [weights], all the same number."""
    pieces: tuple[Tensor, Tensor, Tensor, Tensor]
    """Values, gradients, first moments, second moments; float32 [elements]."""

    @classmethod
    def of(cls, weights: Sequence[nn.Parameter], state: Any) -> _Joined:
        """Moves steps and moments, new or loaded, side by side as well."""
        weights = sorted(weights, key=Tensor.storage_offset)
        gradients = [weight.grad for weight in weights]
        steps, first, second = (_piece_of_state(weights, state, name) for name in ("step", "exp_avg", "exp_avg_sq"))
        return cls(weights, gradients, steps, (_piece(weights), _piece(gradients), first, second))

    def stands(self) -> bool:
        """Whether the gradients are still those that lie side by side."""
        return all(weight.grad is gradient for weight, gradient in zip(self.weights, self.gradients, strict=True))

    def step(self, group: dict[str, Any]) -> None:
        values, gradients, first, second = self.pieces
        beta1, beta2 = group["betas"]
        self.steps.add_(1)
        kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
        kernel(
            [values],
            [gradients],
            [first],
            [second],
            [],
            [self.steps[0]],
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )


def _are_joined(weights: Sequence[nn.Parameter]) -> bool:
    weights = sorted(weights, key=Tensor.storage_offset)
    gradients = [weight.grad for weight in weights]
    return (
        bool(weights)
        and all(gradient is not None for gradient in gradients)
        and _lie_together(weights)
        and _lie_together(gradients)
    )


def _lie_together(tensors: Sequence[Any]) -> bool:
    """Whether each begins where the one before it ends."""
    storage = tensors[0].untyped_storage().data_ptr()
    return all(tensor.is_contiguous() and tensor.untyped_storage().data_ptr() == storage for tensor in tensors) and all(
        one.storage_offset() + one.numel() == other.storage_offset() for one, other in pairwise(tensors)
    )


def _piece(tensors: Sequence[Any]) -> Tensor:
    """All of them, lying together, as one vector over the same memory."""
    piece: Tensor = tensors[0].detach().as_strided((sum(tensor.numel() for tensor in tensors),), (1,))
    return piece


def _piece_of_state(weights: Sequence[nn.Parameter], state: Any, name: str) -> Tensor:
    """A new vector with the weights' moments, or their steps, which become views of it."""
    shapes = [torch.Size() if name == "step" else weight.shape for weight in weights]
    sizes = [shape.numel() for shape in shapes]
    piece = torch.zeros(sum(sizes), device=weights[0].device)
    for weight, part, shape in zip(weights, torch.split(piece, sizes), shapes, strict=True):
        found = part.view(shape)
        if name in state[weight]:
            found.copy_(state[weight][name])
        state[weight][name] = found
    return piece
