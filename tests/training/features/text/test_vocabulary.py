"""Which n-grams get weights: those that enough training texts hold, the most frequent first."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.features.text import vocabulary
from training.features.text.ngrams import BUCKETS, NO_NGRAM


def _chunk(*texts: list[int]) -> np.ndarray:
    """Buckets int64 [n, 6, 4], each text's in its first order."""
    chunk = np.full((len(texts), 6, 4), NO_NGRAM, dtype=np.int64)
    for row, text in enumerate(texts):
        chunk[row, 0, : len(text)] = text
    return chunk


def test_an_n_gram_of_one_text_gets_no_weights() -> None:
    """However often that text holds it; `min_texts` counts texts."""
    fitted = vocabulary.fit([_chunk([5, 7, 7, 7], [5])], min_texts=2, max_rows=10)
    assert (fitted.rows_of[5], fitted.rows_of[7], len(fitted)) == (1, 0, 2)


def test_weights_are_inverse_document_frequencies() -> None:
    """ln((1 + n) / (1 + df)) + 1, and 0 for what is unknown, over all chunks together."""
    fitted = vocabulary.fit([_chunk([3, 4], [3]), _chunk([3, 4], [9])], min_texts=1, max_rows=10)
    weights = {bucket: fitted.weights[fitted.rows_of[bucket]] for bucket in (3, 4, 9, 11)}
    expected = {3: math.log(5 / 4) + 1, 4: math.log(5 / 3) + 1, 9: math.log(5 / 2) + 1, 11: 0.0}
    assert weights == pytest.approx(expected)


def test_the_cap_keeps_the_most_frequent() -> None:
    """Ties go to the lower bucket."""
    fitted = vocabulary.fit([_chunk([1, 2], [2, 3], [2, 9])], min_texts=1, max_rows=2)
    assert np.flatnonzero(fitted.rows_of).tolist() == [1, 2]


def test_a_place_without_n_gram_is_unknown() -> None:
    """And the table has a row number for every bucket."""
    fitted = vocabulary.fit([_chunk([0], [0])], min_texts=1, max_rows=5)
    assert fitted.rows_of.shape == (BUCKETS + 1,)
    assert (fitted.rows_of[NO_NGRAM], fitted.rows_of[0]) == (0, 1)


def test_nothing_known_leaves_the_unknown_row() -> None:
    """Texts that share no n-gram: the answer will be the prior."""
    assert len(vocabulary.fit([_chunk([1], [2])], min_texts=2, max_rows=5)) == 1
