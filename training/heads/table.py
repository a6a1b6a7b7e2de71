"""The heads by name, and which of them a run takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from training import config
from training.heads.adaptive import Adaptive
from training.heads.bent import Bent
from training.heads.chunked import chunked
from training.heads.full import full
from training.heads.head import Head
from training.heads.linear import Linear
from training.heads.mixture import Mixture
from training.heads.plif import Plif
from training.heads.sampled import Sampled
from training.heads.sigsoftmax import Sigsoftmax

FULL_CLASSES = 10_000
"""Up to so many, all logits of a batch at once are the fastest, and the service answers all probabilities."""

CHUNKED_CLASSES = 50_000
"""Above, an exact step takes longer than most people would wait for."""

LINEAR = frozenset({"full", "chunked", "sampled"})
"""Those that differ in training only: what they leave is a vector and a bias a class."""


def _sampled(width: int, shares: Tensor, settings: config.Head) -> Head:
    return Linear("sampled", width, shares, Sampled(shares, settings.negatives), is_sparse=True)


HEADS: Mapping[str, Callable[[int, Tensor, config.Head], Head]] = MappingProxyType(
    {
        "full": lambda width, shares, _: Linear("full", width, shares, full),
        "chunked": lambda width, shares, _: Linear("chunked", width, shares, chunked),
        "sampled": _sampled,
        "plif": lambda width, shares, settings: Bent("plif", width, shares, Plif(settings.pieces)),
        "sigsoftmax": lambda width, shares, _: Bent("sigsoftmax", width, shares, Sigsoftmax()),
        "mixture": lambda width, shares, settings: Mixture("mixture", width, shares, settings.components),
        "adaptive": lambda width, shares, _: Adaptive("adaptive", width, shares),
    }
)
"""Name → (width H, shares of the classes float32 [K], settings) → the last layer."""


def build(width: int, shares: Tensor, settings: config.Head) -> Head:
    """The last layer of a run whose head is chosen."""
    return HEADS[settings.name](width, shares, settings)


def choose(classes: int) -> str:
    """The head of `name = "auto"`: never one of those that are options."""
    if classes <= FULL_CLASSES:
        return "full"
    return "chunked" if classes <= CHUNKED_CLASSES else "sampled"


def has_own_layer(settings: config.Head) -> bool:
    """Whether the last layer stands apart from the perceptron; that of few classes is part of it."""
    return settings.name not in {"auto", "full"} or settings.answer == "top"
