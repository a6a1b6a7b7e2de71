"""Texts as bags of n-grams, kept ready for training: row numbers and weights, one text after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """Only n-grams of the vocabulary are held, each once a text: eight bytes an n-gram, however long the longest text.

    Args:
        rows: int32 [n-grams of all texts].
        weights: float32 [n-grams of all texts].
        starts: int64 [texts + 1], where each text begins; the last is the end.
    """

    rows: Tensor
    weights: Tensor
    starts: Tensor

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, chosen: npt.NDArray[np.int64] | slice) -> Bags:
        """The bags of these texts (int64 [n]), in this order."""
        texts = torch.from_numpy(np.arange(len(self))[chosen])
        first, counts = self.starts[texts], self.starts[texts + 1] - self.starts[texts]
        starts = _starts(counts)
        places = torch.arange(int(starts[-1])) + torch.repeat_interleave(first - starts[:-1], counts)
        return Bags(self.rows[places], self.weights[places], starts)

    def without(self, share: float) -> Bags:
        """A random `share` of the n-grams left out, the weights of the others raised so that the expectation stays."""
        kept = torch.rand(len(self.rows)) >= share
        before = functional.pad(torch.cumsum(kept, dim=0), (1, 0))
        return Bags(self.rows[kept], self.weights[kept] / (1.0 - share), before[self.starts])

    def sum(self, table: Tensor, *, sparse: bool = False) -> Tensor:
        """Σ weight · table[row] for each text: float32 [texts, width]; `sparse` makes the table's gradient sparse."""
        if not table.shape[1]:  # beside a last layer that stands apart; torch's fails on it with two threads
            return table.new_zeros(len(self), 0)
        total: Tensor = functional.embedding_bag(
            self.rows,
            table,
            self.starts.to(torch.int32),
            mode="sum",
            per_sample_weights=self.weights,
            include_last_offset=True,
            sparse=sparse,
        )
        return total


def compress(rows: Tensor, weights: Tensor) -> Bags:
    """Dense int [N, M] and float32 [N, M] → bags; places of row 0, the unknown n-gram, go."""
    known = rows > 0
    return Bags(rows[known].to(torch.int32), weights[known], _starts(known.sum(dim=1)))


def join(parts: Sequence[Bags]) -> Bags:
    """Bags of several groups of texts, one after the other."""
    counts = torch.cat([part.starts[1:] - part.starts[:-1] for part in parts])
    return Bags(torch.cat([part.rows for part in parts]), torch.cat([part.weights for part in parts]), _starts(counts))


def _starts(counts: Tensor) -> Tensor:
    return functional.pad(torch.cumsum(counts, dim=0), (1, 0))
