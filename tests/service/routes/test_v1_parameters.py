"""What a caller may ask of each prediction, and what is remarked of rows unasked, through a real socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import TypeAdapter

from clipmax import abstention, conformal
from tests import artifacts

LABELS = ["label 0", "label 1", "label 2"]
TABLES = TypeAdapter(conformal.Tables).validate_python(artifacts.CONFORMAL)
ABSTENTION = TypeAdapter(abstention.Abstention).validate_python(artifacts.ABSTENTION)
ROWS = artifacts.rows(20)


def ask(http: httpx.Client, model: str, instances: list[Any], **parameters: object) -> list[dict[str, Any]]:
    """The predictions of an answer."""
    body = {"instances": instances, "parameters": parameters}
    response = http.post(f"/v1/models/{model}:predict", json=body)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["predictions"]
    return found


def refused(http: httpx.Client, model: str, instance: Any, **parameters: object) -> dict[str, Any]:
    """The problem that comes instead."""
    body = {"instances": [instance], "parameters": parameters}
    response = http.post(f"/v1/models/{model}:predict", json=body)
    assert response.status_code == 422, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.mark.parametrize("coverage", [0.1, 0.5, 0.85, 0.9, 0.999])
@pytest.mark.parametrize("method", ["plain", "adaptive", None])
def test_a_prediction_set_is_the_one_that_training_measured(
    kinds_http: httpx.Client, kinds: Path, coverage: float, method: conformal.Method | None
) -> None:
    """By the same functions, likeliest label first; adaptive unless told otherwise."""
    _, probabilities = artifacts.run((kinds / "tiny" / "1" / "model.onnx").read_bytes(), ROWS)
    asked = {} if method is None else {"coverage_method": method}
    chosen = method or "adaptive"
    limit = conformal.threshold(TABLES.plain if chosen == "plain" else TABLES.adaptive, coverage)
    rows = ask(kinds_http, "tiny", ROWS, coverage=coverage, **asked)
    for row, numbers in zip(rows, probabilities, strict=True):
        assert row["prediction_set"] == [LABELS[index] for index in conformal.prediction_set(chosen, numbers, limit)]
        assert method == "plain" or row["prediction_set"][0] == row["label"]


def test_a_coverage_that_needs_more_rows_gives_every_label(kinds_http: httpx.Client) -> None:
    """Nine rows promise at most 0.9."""
    (row,) = ask(kinds_http, "tiny", ROWS[:1], coverage=0.95)
    assert sorted(row["prediction_set"]) == LABELS


@pytest.mark.parametrize("coverage", [0, 1, 0.0, 1.0, -0.5, 1.5, 10**18, True, "0.9", None, [0.9]])
def test_a_coverage_lies_between_0_and_1(kinds_http: httpx.Client, coverage: object) -> None:
    """Both excluded."""
    problem = refused(kinds_http, "tiny", ROWS[0], coverage=coverage)
    assert (problem["code"], problem["pointer"]) == ("PARAMETER", "/parameters/coverage")


@pytest.mark.parametrize("parameters", [{"coverage": 0.9, "coverage_method": "x"}, {"coverage_method": "plain"}])
def test_a_coverage_method_is_a_known_one_and_needs_a_coverage(
    kinds_http: httpx.Client, parameters: dict[str, object]
) -> None:
    """Alone it would mean nothing."""
    problem = refused(kinds_http, "tiny", ROWS[0], **parameters)
    assert (problem["code"], problem["pointer"]) == ("PARAMETER", "/parameters/coverage_method")


def test_rows_that_the_model_had_better_not_decide_are_marked(kinds_http: httpx.Client) -> None:
    """The label is given all the same."""
    rows = ask(kinds_http, "tiny", ROWS, abstain=True, probabilities=True)
    found = np.array([[row["probabilities"][label] for label in LABELS] for row in rows], dtype=np.float32)
    assert [row["abstained"] for row in rows] == abstention.abstains(ABSTENTION, found).tolist()
    assert {row["abstained"] for row in rows} == {True, False}
    assert all("abstained" not in row for row in ask(kinds_http, "tiny", ROWS, abstain=False))


@pytest.mark.parametrize(
    ("model", "instance", "parameters"),
    [
        ("text", "banana", {"coverage": 0.9}),
        ("text", "banana", {"abstain": True}),
        ("tiny", ROWS[0], {"novelty": True}),
    ],
)
def test_what_a_version_has_no_calibration_for_is_refused(
    kinds_http: httpx.Client, model: str, instance: Any, parameters: dict[str, object]
) -> None:
    """Rather than answered without it."""
    problem = refused(kinds_http, model, instance, **parameters)
    assert (problem["code"], problem["pointer"]) == ("PARAMETER", f"/parameters/{next(iter(parameters))}")
    assert "this version has no" in problem["detail"]


def test_words_that_training_never_saw_are_named_by_their_input(kinds_http: httpx.Client) -> None:
    """A missing word is not unknown; a number outside its range is out of range."""
    instances = [{"city": "Rome"}, {"city": "Bern"}, {"city": None}, {"age": 101, "city": "Oslo"}]
    rows = ask(kinds_http, "table", instances)
    assert [row["unknown"] for row in rows] == [[], ["city"], [], []]
    assert [row["out_of_range"] for row in rows] == [False, False, False, True]
    assert all("truncated" not in row for row in rows)
    assert [row["unknown"] for row in ask(kinds_http, "table", instances[:1])] == [[]]


def test_texts_that_were_cut_are_named_by_their_input(kinds_http: httpx.Client) -> None:
    """Eight code points are read, whatever they are."""
    rows = ask(kinds_http, "text", ["banana", "12345678", "123456789", "\U0001f600" * 9])
    assert [row["truncated"] for row in rows] == [[], [], ["text"], ["text"]]
    assert all("unknown" not in row for row in rows)


def test_options_of_one_request_are_its_own(kinds_http: httpx.Client) -> None:
    """Everything at once, in an answer that has nothing else."""
    (row,) = ask(kinds_http, "tiny", ROWS[:1], top_k=1, coverage=0.5, abstain=True, logits=True, probabilities=True)
    members = {"label", "probability", "top", "out_of_range", "prediction_set", "abstained", "logits", "probabilities"}
    assert set(row) == members
