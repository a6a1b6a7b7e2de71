"""A file's graph and the one that was built of it → the range in which answers are finite, and that both agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clipmax.inputs import ImageInput, Tensor
from clipmax.refusal import Refusal
from training.adopt import probes, scores
from training.adopt.entrance import Entrance
from training.adopt.running import Graph
from training.adopt.scores import Answer

PARITY = 1e-5
ALONE = 1e-6
"""How much a row's probability may differ when it runs alone: no more than rounding."""
BATCHES = (1, 7)
LIMITS = (1e3, 1e4, 1e6, 1e9, 1e12, 1e20, 1e30)
MARGIN = 10.0
"""Probes go so many times beyond a limit before it is believed: they are many rows, but not all rows."""
_BEYOND = 3e38
_WHERE = "model"
_SAME = 1e-7
_NEIGHBOURS = 12


@dataclass(frozen=True, slots=True)
class Case:
    """A file's graph, the way in, where its logits are, and to what numbers are clipped before it."""

    file: Graph
    entrance: Entrance
    answer: Answer
    bound: float

    def run(self, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The file's own output and the value that the logits come from, for a client's tensors."""
        feeds = self.entrance.feeds(tensors, self.bound)
        output, value = self.file.run([self.answer.output, self.answer.value], feeds)
        return output, value


def limit(file: Graph, entrance: Entrance, answer: Answer) -> float:
    """The largest of `LIMITS` at which, and ten times beyond it, every probe gives finite scores; we clip there.

    Raises:
        Refusal: not even at the smallest.
    """
    found: float | None = None
    for bound in LIMITS:
        schemas = entrance.schemas(bound)
        feeds = entrance.feeds(probes.ends(schemas, MARGIN * bound), MARGIN * bound)
        if not all(np.isfinite(value).all() for value in file.run([answer.output, answer.value], feeds)):
            break
        found = bound
        if isinstance(schemas[0], ImageInput):  # pixels have a range of their own
            break
    if found is None:
        expected = f"finite for inputs of up to {MARGIN * LIMITS[0]:g}"
        raise Refusal(_WHERE, "scores", expected=expected, found="NaN or infinity")
    return found


def parity(built: Graph, case: Case, tensors: Mapping[str, Tensor]) -> float:
    """The largest difference of a probability between the built graph, at temperature 1, and the file's own answer.

    Raises:
        Refusal: above 1e-5, not finite, or not summing to 1.
    """
    expected = scores.probabilities(case.answer, *case.run(tensors))
    worst = 0.0
    for rows in (*BATCHES, probes.count(tensors)):
        found = _probabilities(built, probes.take(tensors, slice(rows)))
        worst = max(worst, float(np.abs(found - expected[:rows]).max()))
    if not worst <= PARITY:
        raise Refusal(_WHERE, "parity", expected=f"the file's probabilities within {PARITY:g}", found=f"{worst:.3g}")
    return worst


def independence(built: Graph, tensors: Mapping[str, Tensor]) -> None:
    """A row's answer is its own: alone, in another order, and beside other rows.

    Raises:
        Refusal: another answer than in the batch.
    """
    rows = np.linspace(0, probes.count(tensors) - 1, _NEIGHBOURS).astype(np.int64)
    together = _probabilities(built, probes.take(tensors, rows))
    alone = np.concatenate([_probabilities(built, probes.take(tensors, rows[[place]])) for place in range(len(rows))])
    backwards = _probabilities(built, probes.take(tensors, rows[::-1]))[::-1]
    worst = max(float(np.abs(together - other).max()) for other in (alone, backwards))
    if not worst <= ALONE:
        expected = "answers that do not depend on the other rows of a batch"
        raise Refusal(_WHERE, "rows", expected=expected, found=f"a difference of {worst:.3g}")


def ends(built: Graph, case: Case) -> None:
    """Finite at both ends of the range and beyond, where the answer is that of the end.

    Raises:
        Refusal: NaN, infinity, no distribution, or an input that is not clipped.
    """
    schemas = case.entrance.schemas(case.bound)
    at, beyond = (_probabilities(built, probes.ends(schemas, size)) for size in (case.bound, _BEYOND))
    if isinstance(schemas[0], ImageInput):
        return
    edges = 4  # all high, all low and both alternating: the patterns without a value in between
    if not np.array_equal(at[:edges], beyond[:edges]):
        raise Refusal(_WHERE, "range", expected="the answer at the end of the range", found="another beyond it")


def variety(found: Tensor) -> None:
    """Answers depend on the input at all: else nothing about them can be told. Raises Refusal."""
    if float(np.ptp(found.astype(np.float64), axis=0).max()) <= _SAME:
        raise Refusal(_WHERE, "scores", expected="some that depend on the input", found="the same for every probe")


def _probabilities(built: Graph, tensors: Mapping[str, Tensor]) -> Tensor:
    logits, found = built.run(["logits", "probabilities"], tensors)
    if not (np.isfinite(logits).all() and np.isfinite(found).all()):
        raise Refusal(_WHERE, "answers", expected="finite logits and probabilities", found="NaN or infinity")
    if float(np.abs(found.sum(axis=1, dtype=np.float64) - 1.0).max()) > PARITY:
        raise Refusal(_WHERE, "answers", expected="probabilities that sum to 1", found="another sum")
    return found
