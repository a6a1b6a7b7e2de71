"""The n-grams of the training texts → which buckets get a row of weights, and how much each row counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.features.text.ngrams import BUCKETS, NO_NGRAM

UNKNOWN_ROW = 0


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Fitted on the training split alone.

    Args:
        rows_of: int32 [2^20 + 1], bucket → row; 0 for what training never saw and for no n-gram.
        weights: float32 [rows], inverse document frequency ln((1 + n) / (1 + df)) + 1 in n texts; row 0 has weight 0.
    """

    rows_of: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Rows, the unknown one included."""
        return len(self.weights)


def fit(chunks: Iterable[npt.NDArray[np.int64]], *, min_texts: int, max_rows: int) -> Vocabulary:
    """Keep the buckets that at least `min_texts` texts hold, the most frequent `max_rows` of them.

    Args:
        chunks: buckets as `Ngrams` gives them, int64 [n, 6, L], of all training texts, a few texts at a time.
        min_texts: 2 leaves out what one text alone has; for very few texts that may be all.
        max_rows: bounds file size, memory and the time of a training step.
    """
    frequencies, texts = np.zeros(BUCKETS + 1, dtype=np.int64), 0
    for chunk in chunks:
        texts += len(chunk)
        frequencies += _texts_with(chunk)
    frequencies[NO_NGRAM] = 0
    kept = _most_frequent(frequencies, min_texts, max_rows)
    rows_of = np.zeros(BUCKETS + 1, dtype=np.int32)
    rows_of[kept] = np.arange(1, len(kept) + 1)
    weights = np.log((1.0 + texts) / (1.0 + frequencies[kept])) + 1.0
    return Vocabulary(rows_of, np.concatenate([[0.0], weights]).astype(np.float32))


def _texts_with(chunk: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """int64 [2^20 + 1], in how many texts of the chunk each bucket occurs."""
    ordered = np.sort(chunk.reshape(len(chunk), -1), axis=1)
    first = np.ones(ordered.shape, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return np.bincount(ordered[first], minlength=BUCKETS + 1)


def _most_frequent(frequencies: npt.NDArray[np.int64], min_texts: int, max_rows: int) -> npt.NDArray[np.int64]:
    """Ascending bucket numbers; ties go to the lower bucket, so that the choice is the same everywhere."""
    candidates = np.flatnonzero(frequencies >= min_texts)
    order = np.argsort(-frequencies[candidates], kind="stable")[:max_rows]
    return np.sort(candidates[order])
