"""Hidden values → logits of many classes and a loss: what every last layer that stands apart offers."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

from training.heads.chunked import parts


class Head(nn.Module):
    """A last layer. This one makes all logits at once; others need not.

    Shape:
        - Input: float32 [N, H]
        - Output: float32 [N, K], the logits: their softmax is the answer, whatever they were made of

    Args:
        name: in the table of heads.
        width: H.
        classes: K.
    """

    is_sparse = False
    """Whether a step touches, and costs, a few rows only."""

    def __init__(self, name: str, width: int, classes: int) -> None:
        super().__init__()
        self.name, self.width, self.classes = name, width, classes

    @property
    def rank_width(self) -> int:
        """Where the matrix of logits has at most rank d + 1, d; where nothing below K bounds it, K - 1."""
        return self.classes - 1

    def chunks(self, hidden: Tensor, size: int) -> Iterator[tuple[slice, Tensor]]:
        """(classes, their logits float32 [N, classes]), so many at a time; the logits may be written to."""
        logits = self(hidden)
        return ((part, logits[:, part]) for part in parts(self.classes, size))

    def true_logits(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Of each row the one of its own class: float32 [N]."""
        found: Tensor = self(hidden).gather(1, labels.unsqueeze(1)).squeeze(1)
        return found

    def tempered(self, hidden: Tensor, temperature: Tensor) -> Tensor:
        """Logits / temperature: float32 [N, K]."""
        found: Tensor = self(hidden) / temperature
        return found

    def vectors(self) -> tuple[Tensor, Tensor] | None:
        """Weight float32 [K, H] and bias [K] where a row's classes rank as hidden · weight + bias does, else None."""
        return None

    def loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """What is minimized: 0-d, in nats. Of the sampled head an estimate, never to be reported as the log loss."""
        return functional.cross_entropy(self(hidden), labels)
