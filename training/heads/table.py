"""The heads by name, and which of them a run takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from training import config
from training.heads.chunked import chunked
from training.heads.full import full
from training.heads.sampled import Sampled

HeadLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(hidden [N, H], weight [K, H], bias [K, 1], labels [N]) → 0-d."""

FULL_CLASSES = 10_000
"""Up to so many, all logits of a batch at once are the fastest, and the service answers all probabilities."""

CHUNKED_CLASSES = 50_000
"""Above, an exact step takes longer than most people would wait for."""

HEADS: Mapping[str, Callable[[config.Head, Tensor], HeadLoss]] = MappingProxyType(
    {
        "full": lambda _settings, _shares: full,
        "chunked": lambda _settings, _shares: chunked,
        "sampled": lambda settings, shares: Sampled(shares, settings.negatives),
    }
)
"""Name → (settings, shares of the classes float32 [K]) → the loss."""


def choose(classes: int) -> str:
    """The head of `name = "auto"`."""
    if classes <= FULL_CLASSES:
        return "full"
    return "chunked" if classes <= CHUNKED_CLASSES else "sampled"


def has_own_layer(settings: config.Head) -> bool:
    """Whether the last layer stands apart from the perceptron; that of few classes is part of it."""
    return settings.name not in {"auto", "full"} or settings.answer == "top"
