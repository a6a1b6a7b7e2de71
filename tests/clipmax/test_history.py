"""Histories are read as strictly as they are documented, and become pairs that say the same in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmax import history
from clipmax.history import History
from clipmax.inputs import HistoryInput, tensors
from clipmax.problems import Problem

SCHEMA = HistoryInput(name="history", items=("tea", "cup"), max_length=20, maximum=300.0)


def test_a_purchase_is_its_code_and_its_days() -> None:
    """Behind them comes padding; an unknown item has a code of its own."""
    found = tensors((SCHEMA,), [{"items": ["cup", "hat", "tea"], "days_ago": [3, 0.5, 40]}])["history"]
    assert found.dtype == np.float32
    assert found.shape == (1, history.LEAST_LENGTH, 2)
    assert found[0, :3].tolist() == [[3, 3], [1, 0.5], [2, 40]]
    assert not found[0, 3:].any()
    assert history.counts(found).tolist() == [[2, 1]]


def test_an_empty_history_is_padding() -> None:
    """It may stand under the input's name too."""
    found = tensors(
        (SCHEMA,), [{"items": [], "days_ago": []}, {"history": {"items": ["tea"] * 12, "days_ago": [1] * 12}}]
    )
    assert found["history"].shape == (2, 12, 2)
    assert history.counts(found["history"]).tolist() == [[0, 0], [12, 0]]
    assert SCHEMA.lengths(found["history"]).tolist() == [history.LEAST_LENGTH, 12]


@pytest.mark.parametrize(
    ("value", "code", "pointer"),
    [
        (["tea"], "TYPE", ""),
        ("tea", "TYPE", ""),
        (None, "TYPE", ""),
        ({"items": []}, "FIELD_MISSING", "/days_ago"),
        ({"days_ago": []}, "FIELD_MISSING", "/items"),
        ({"items": [], "days_ago": [], "now": 1}, "UNKNOWN_FIELD", ""),
        ({"items": "tea", "days_ago": [1]}, "TYPE", "/items"),
        ({"items": [], "days_ago": None}, "TYPE", "/days_ago"),
        ({"items": ["tea", 7], "days_ago": [1, 1]}, "TYPE", "/items/1"),
        ({"items": ["tea"], "days_ago": ["1"]}, "TYPE", "/days_ago/0"),
        ({"items": ["tea"], "days_ago": [True]}, "TYPE", "/days_ago/0"),
        ({"items": ["tea"], "days_ago": [None]}, "TYPE", "/days_ago/0"),
        ({"items": ["tea"], "days_ago": [1e39]}, "NUMBER_RANGE", "/days_ago/0"),
        ({"items": ["tea"], "days_ago": [10**400]}, "NUMBER_RANGE", "/days_ago/0"),
        ({"items": ["tea"], "days_ago": []}, "INPUT_SHAPE", "/days_ago"),
        ({"items": ["tea"] * 21, "days_ago": [1] * 21}, "INPUT_SHAPE", "/items"),
    ],
)
def test_what_is_no_history_is_refused_at_its_place(value: Any, code: str, pointer: str) -> None:
    """With the code of the catalogue, and none of the caller's values."""
    with pytest.raises(Problem) as caught:
        SCHEMA.tensor([value], ["/instances/0"])
    assert caught.value.kind.code == code
    assert caught.value.pointer == f"/instances/0{pointer}"
    assert "tea" not in caught.value.detail


def test_days_outside_the_training_range_are_noticed() -> None:
    """The graph clips them."""
    rows = [{"items": ["tea"], "days_ago": [days]} for days in (0, 300, -0.5, 300.5)]
    found = tensors((SCHEMA,), rows)["history"]
    assert SCHEMA.out_of_range(found).tolist() == [False, False, True, True]


@given(st.lists(st.tuples(st.sampled_from(["tea", "cup", "hat"]), st.integers(0, 400)), max_size=20))
def test_counts_do_not_depend_on_order(purchases: list[tuple[str, int]]) -> None:
    """Nor does the place of a pair change the pair."""
    histories = [History([item for item, _ in one], [day for _, day in one]) for one in (purchases, purchases[::-1])]
    forth, back = history.pairs(histories, SCHEMA.codes)
    assert sorted(map(tuple, forth.tolist())) == sorted(map(tuple, back.tolist()))
    assert history.counts(forth[None]).tolist() == history.counts(back[None]).tolist()
