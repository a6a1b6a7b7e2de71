"""The arrays of a run → predictions as JSON text."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clipmax import manifest
from clipmax.problems import Problem
from service import answer
from service.answer import DEFAULT, Options, Results, Share, Words
from service.outputs import Full
from tests import artifacts

FOUR, MANY = 4, 100


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Words]:
    """Of a real version, by its number of labels."""
    root = tmp_path_factory.mktemp("models")

    def load(labels: int) -> Words:
        folder = artifacts.publish(root, f"of-{labels}", labels=labels)
        return Words(manifest.load(folder), "cpu")

    return {labels: load(labels) for labels in (FOUR, MANY)}


def results(words: Words, *rows: list[float], flags: list[bool] | None = None) -> Results:
    values = np.array(rows, dtype=np.float32)
    found = {(answer.OUT_OF_RANGE, ""): np.array(flags or [False] * len(rows))}
    return Results(words, Full(logits=values, probabilities=values), found)


def predictions(found: Results, options: Options = DEFAULT) -> list[dict[str, Any]]:
    return [orjson.loads(text) for text in found.predictions(0, len(found.outputs), options)]


def indices(row: dict[str, Any]) -> list[int]:
    return [int(top["label"].removeprefix("label ")) for top in row["top"]]


@pytest.mark.parametrize("repeats", [1, 9])
def test_equally_likely_labels_come_in_label_order(words: dict[int, Words], repeats: int) -> None:
    """Also for the one label that is named, in short runs and in long ones."""
    for row in predictions(results(words[FOUR], *[[0.2, 0.4, 0.4, 0.0]] * repeats), Options(top_k=4)):
        assert indices(row) == [1, 2, 0, 3]
        assert row["label"] == "label 1"
        assert row["probability"] == row["top"][0]["probability"] == 0.4


@pytest.mark.parametrize("repeats", [1, 9])
@given(
    values=arrays(np.float32, MANY, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    top_k=st.integers(1, MANY + 1),
)
def test_the_top_of_many_labels_is_that_of_a_full_sort(
    words: dict[int, Words], repeats: int, values: npt.NDArray[np.float32], top_k: int
) -> None:
    """Ties at the end of the top among them."""
    expected = np.argsort(-values, kind="stable")[:top_k].tolist()
    found = predictions(results(words[MANY], *[values.tolist()] * repeats), Options(top_k=top_k))
    assert all(indices(row) == expected for row in found)


@pytest.mark.parametrize(("top_k", "expected"), [(1, 1), (3, 3), (4, 4), (5, 4), (10**18, 4)])
def test_top_k_above_the_labels_means_all(words: dict[int, Words], top_k: int, expected: int) -> None:
    """However far above."""
    (row,) = predictions(results(words[FOUR], [0.1, 0.2, 0.3, 0.4]), Options(top_k=top_k))
    assert len(row["top"]) == expected


def test_what_was_not_asked_for_is_not_there(words: dict[int, Words]) -> None:
    """And what was is an object by label."""
    found = results(words[FOUR], [0.1, 0.2, 0.3, 0.4])
    (bare,) = predictions(found)
    assert set(bare) == {"label", "probability", "top", "out_of_range"}
    (full,) = predictions(found, Options(probabilities=True, logits=True))
    assert list(full["probabilities"]) == list(full["logits"]) == [f"label {index}" for index in range(FOUR)]


def test_each_request_of_a_run_gets_its_rows_and_its_options(words: dict[int, Words]) -> None:
    """In one body, with what is the same in all answers around it."""
    found = results(words[FOUR], *np.eye(FOUR).tolist(), flags=[False, True, False, False])
    first = orjson.loads(answer.encode(Share(found, 0, 1), DEFAULT, "id-1"))
    second = orjson.loads(answer.encode(Share(found, 1, 4), Options(top_k=1, logits=True), "id-2"))
    assert (first["model"], first["version"], first["provider"], first["request_id"]) == ("of-4", 1, "cpu", "id-1")
    assert [(row["label"], row["out_of_range"], len(row["top"])) for row in first["predictions"]] == [
        ("label 0", False, 3)
    ]
    assert [(row["label"], row["out_of_range"], len(row["top"])) for row in second["predictions"]] == [
        ("label 1", True, 1),
        ("label 2", False, 1),
        ("label 3", False, 1),
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("options", [DEFAULT, Options(top_k=1)])
def test_a_result_that_is_not_finite_is_never_sent(words: dict[int, Words], value: float, options: Options) -> None:
    """Whatever the graph does; and the other rows of the run are sent."""
    found = results(words[FOUR], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, value])
    with pytest.raises(Problem, match="NON_FINITE_OUTPUT"):
        found.predictions(1, 2, options)
    assert len(found.predictions(0, 1, options)) == 1


def test_large_logits_are_finite(words: dict[int, Words]) -> None:
    """Their squares are not, which is only how one looks quickly."""
    assert len(predictions(results(words[FOUR], [1e30, -1e30, 0.0, 0.0]))) == 1


@given(arrays(np.float32, (3, FOUR), elements=st.floats(0, 1, width=32)))
def test_numbers_read_back_as_the_float32_that_was_computed(
    words: dict[int, Words], values: npt.NDArray[np.float32]
) -> None:
    """Through JSON text and back, every bit."""
    rows = predictions(results(words[FOUR], *values.tolist()), Options(probabilities=True))
    back = np.array([list(row["probabilities"].values()) for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(back, values)
    for row, given_row in zip(rows, values, strict=True):
        assert np.float32(row["probability"]) == given_row.max()
        assert row["label"] == f"label {int(given_row.argmax())}"
