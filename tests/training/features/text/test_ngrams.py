"""Words and character n-grams as a reader counts them, whatever stands around them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipmax.inputs import code_points
from training.features.text.ngrams import BUCKETS, NO_NGRAM, ORDERS, Ngrams

NGRAMS = Ngrams()
texts = st.text(st.characters(codec=None), max_size=40)


def _buckets(*values: str) -> torch.Tensor:
    found: torch.Tensor = NGRAMS(torch.from_numpy(code_points(values, 200_000).copy()))
    return found


def _bags(text: str) -> list[Counter[int]]:
    """The n-grams of one text by order, how often each."""
    return [Counter(row[row != NO_NGRAM].tolist()) for row in _buckets(text)[0]]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", (0, 0, 0, 0, 0, 0)),
        ("  \0 ", (0, 0, 0, 0, 0, 0)),
        ("card", (1, 0, 4, 3, 2, 1)),
        ("my card", (2, 1, 6, 4, 2, 1)),
        ("工学 研究", (4, 3, 4, 2, 0, 0)),
        ("a,b", (2, 1, 3, 2, 1, 0)),
        ("x" * 5, (1, 0, 5, 4, 3, 2)),
        ("\u200b\u200d", (0, 0, 0, 0, 0, 0)),
        ("\ud800", (1, 0, 1, 0, 0, 0)),
    ],
)
def test_the_n_grams_are_those_a_reader_counts(text: str, counts: tuple[int, ...]) -> None:
    """Words, pairs, and 1 to 4 characters that no blank parts; Han characters are words."""
    assert tuple(sum(bag.values()) for bag in _bags(text)) == counts


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("pay\u200bpal", "paypal"),
        ("CAFÉ", "cafe\u0301"),
        ("card\u0000lost", "card lost"),
        ("  card  ", "card"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\U0001f680"),
        ("\ud800", "\ufffd"),
    ],
)
def test_texts_that_look_alike_have_the_same_n_grams(first: str, second: str) -> None:
    """Dropped characters, case, accents and kinds of blanks make no difference."""
    assert _bags(first) == _bags(second)


def test_the_letters_order_matters() -> None:
    """A word's hash is a sum over its letters, but of each with its neighbours."""
    words = ["listen", "silent", "enlist", "tinsel", "aab", "aba", "baa"]
    assert len({next(iter(_bags(word)[0])) for word in words}) == len(words)


def test_collisions_are_those_of_an_ideal_hash() -> None:
    """20,000 words in 2^20 buckets: about 189 collide by the birthday bound."""
    words = [f"{prefix}{number}" for prefix in ("ab", "zx") for number in range(10_000)]
    found = _buckets(*words)[:, 0, 0].numpy()
    assert len(np.unique(found)) > len(words) - 2 * len(words) ** 2 / (2 * BUCKETS)


@given(st.lists(texts, min_size=1, max_size=5), texts)
def test_a_text_means_the_same_alone_and_beside_longer_ones(values: list[str], longer: str) -> None:
    """Padding is blank: bit for bit the same buckets."""
    together = _buckets(*values, longer + "long enough " * 4)
    for row, text in enumerate(values):
        alone = _buckets(text)[0]
        assert torch.equal(alone, together[row, :, : alone.shape[1]])
        assert bool((together[row, :, alone.shape[1] :] == NO_NGRAM).all())


@given(texts)
def test_every_bucket_is_in_range(text: str) -> None:
    """0 to 2^20 for any Unicode, lone surrogates and NUL included."""
    found = _buckets(text)
    assert found.shape[:2] == (1, ORDERS)
    assert int(found.min()) >= 0
    assert int(found.max()) <= NO_NGRAM


def test_numbers_that_are_no_code_points_count_as_the_replacement_character() -> None:
    """A client of tensors may send anything; nothing reads outside the table."""
    odd = torch.tensor([[-1, -(2**31), 0x110000, 2**31 - 1]], dtype=torch.int32)
    assert torch.equal(NGRAMS(odd), _buckets("\ufffd" * 4))
