"""Bags against dense sums, and their selection against Python's lists."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.features.text import bags
from training.features.text.bags import Bags

Texts = list[list[int]]
some_texts = st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=6)


def _bags(texts: Texts) -> Bags:
    rows = torch.tensor(texts)
    return bags.compress(rows, rows * 0.5)


def _lists(found: Bags) -> Texts:
    return [found.rows[found.starts[text] : found.starts[text + 1]].tolist() for text in range(len(found))]


@given(some_texts)
def test_unknown_n_grams_are_not_kept(texts: Texts) -> None:
    """Row 0 is what training never saw."""
    assert _lists(_bags(texts)) == [[row for row in text if row] for text in texts]


@given(some_texts, st.data())
def test_chosen_bags_are_those_of_the_chosen_texts(texts: Texts, data: st.DataObject) -> None:
    """In their order, repetitions allowed, as indexing an array does."""
    chosen = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8))
    whole = _lists(_bags(texts))
    assert _lists(_bags(texts)[np.array(chosen, dtype=np.int64)]) == [whole[text] for text in chosen]
    assert _lists(_bags(texts)[1:3]) == whole[1:3]


@given(some_texts, some_texts)
def test_joined_bags_stand_one_after_the_other(first: Texts, second: Texts) -> None:
    """As their texts would."""
    assert _lists(bags.join([_bags(first), _bags(second)])) == _lists(_bags(first + second))


@given(some_texts)
def test_a_sum_is_the_sum_of_weighted_rows(texts: Texts) -> None:
    """Of no n-grams it is 0."""
    table = torch.arange(20, dtype=torch.float32).reshape(10, 2)
    expected = torch.stack([sum((table[row] * (row * 0.5) for row in text), torch.zeros(2)) for text in texts])
    torch.testing.assert_close(_bags(texts).sum(table), expected)


def test_only_the_rows_of_the_batch_have_a_gradient() -> None:
    """A sparse one: nothing as large as the table is made."""
    table = torch.ones(1000, 2, requires_grad=True)
    _bags([[3, 0, 7]]).sum(table, sparse=True).sum().backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
    assert table.grad is not None
    assert table.grad.is_sparse
    assert table.grad.coalesce().indices().tolist() == [[3, 7]]


def test_dropout_keeps_the_expectation() -> None:
    """Left out at random, the rest raised."""
    torch.manual_seed(0)
    whole = _bags([[1] * 3] * 4000)
    left = whole.without(0.7)
    assert len(left) == len(whole)
    assert len(left.rows) / len(whole.rows) == pytest.approx(0.3, abs=0.02)
    assert float(left.weights.sum()) == pytest.approx(float(whole.weights.sum()), rel=0.05)


def test_a_table_without_columns_gives_rows_without_values() -> None:
    """As a text's own logits are beside many classes; torch's operator fails on it with more than one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert _bags([[1, 2, 3]] * 1000).sum(torch.zeros(10, 0)).shape == (1000, 0)
    finally:
        torch.set_num_threads(before)
