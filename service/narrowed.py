"""Predictions that leave labels out: of the others, each with the probability that it has among all.

Nothing is rescaled: a probability says the same with and without the others, so that a threshold stays what it was,
and `considered` says how much probability the labels have that were left.
"""

from __future__ import annotations

import numpy as np

from service import answer
from service.answer import Options, Results, Share
from service.narrowing import Flags
from service.outputs import Full

_HIDDEN = np.float32(-1.0)
"""Below every probability."""


def narrowed(share: Share, kept: Flags) -> Share:
    """A request's share, answered with some labels only: bool [N, K]."""
    return Share(Narrowed(share, kept), 0, len(kept))


class Narrowed(Results):
    """The rows of one request whose answers leave labels out."""

    def __init__(self, share: Share, kept: Flags) -> None:
        outputs = share.outputs
        assert isinstance(outputs, Full)  # noqa: S101  # see `Words.check`
        super().__init__(share.results.words, outputs, share.remarks)
        self._full, self._kept = outputs, kept

    def predictions(self, start: int, stop: int, options: Options) -> list[str]:
        self.check(start, stop)
        return self.texts(options)[start:stop]

    def texts(self, options: Options) -> list[str]:
        """One JSON object a row, likeliest label first; of `top_k` labels so many as there are."""
        heads, values = self.words.heads, np.where(self._kept, self._full.probabilities, _HIDDEN)
        top_k = min(options.top_k, self.words.answered)
        labels, numbers = answer.top(Full(self._full.logits, values), top_k)
        tops = [heads[label] + number for label, number in zip(labels, numbers, strict=True)]
        ends = np.minimum(self._kept.sum(axis=1), top_k) + np.arange(0, len(tops), top_k)
        return [
            f'{tops[first]},"top":[{"},".join(tops[first:end])}}}]{considered}{rest}}}'
            for first, end, considered, rest in zip(
                range(0, len(tops), top_k), ends.tolist(), self._considered(), self._rests(options), strict=True
            )
        ]

    def _considered(self) -> list[str]:
        """How many labels were left, and the probability that one of them is right."""
        totals = np.where(self._kept, self._full.probabilities, 0.0).sum(axis=1, dtype=np.float64)
        counts = self._kept.sum(axis=1).tolist()
        return [
            f',"considered":{{"labels":{count},"probability":{min(total, 1.0)!r}}}'
            for count, total in zip(counts, totals.tolist(), strict=True)
        ]

    def _by_label(self, member: str, values: answer.Floats) -> list[str]:
        keys, digits = self.words.keys, answer.decimals(values)
        texts = []
        for first, kept in zip(range(0, len(digits), self._kept.shape[1]), self._kept, strict=True):
            members = [keys[label] + digits[first + label] for label in np.flatnonzero(kept).tolist()]
            texts.append(f',"{member}":{{{",".join(members)}}}')
        return texts
