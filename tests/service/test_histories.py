"""Histories over HTTP: what is known of them, which labels are left out, and the same numbers whoever asks beside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from clipmax.client import Client
from tests import artifacts
from tests.service.running import Running, serving

LABELS = ["label 0", "label 1", "label 2"]
SHORT = {"items": ["label 1"], "days_ago": [3]}
EMPTY: dict[str, Any] = {"items": [], "days_ago": []}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`history`, and `tiny`, which reads images."""
    models = tmp_path_factory.mktemp("models")
    artifacts.publish_history(models)
    artifacts.publish(models, conformal=artifacts.CONFORMAL, abstention=artifacts.ABSTENTION)
    with serving(models, tmp_path_factory.mktemp("service"), "--default-model", "history") as running:
        yield running


@pytest.fixture
def http(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=30) as client:
        yield client


def predict(http: httpx.Client, *instances: Any, model: str = "history", **parameters: Any) -> httpx.Response:
    body = {"instances": list(instances), "parameters": parameters}
    return http.post(f"/v1/models/{model}:predict", json=body)


def predictions(http: httpx.Client, *instances: Any, **parameters: Any) -> list[dict[str, Any]]:
    answer = predict(http, *instances, **parameters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


def exact(*instances: Any) -> np.ndarray:
    """By onnxruntime itself."""
    content = artifacts.history_model(1).SerializeToString()
    return artifacts.run(content, instances, artifacts.HISTORY)[1]


def test_a_history_is_answered_with_what_is_known_of_it(http: httpx.Client) -> None:
    """Bare or under its name, the numbers of the graph."""
    first = artifacts.HISTORY_ROWS[0]
    found, again = predictions(http, first, {"history": first}, probabilities=True)
    assert found == again
    assert list(found["probabilities"]) == LABELS
    np.testing.assert_array_equal(np.array(list(found["probabilities"].values()), dtype=np.float32), exact(first)[0])
    assert found["history"] == {"known": 3, "unknown": 1, "prior": False}
    assert found["unknown"] == ["history"]


def test_of_nobody_known_the_answer_is_the_prior_and_says_so(http: httpx.Client) -> None:
    """Empty, or of items that training never saw."""
    strange = {"items": ["gone", "away"], "days_ago": [1, 2]}
    empty, unknown = predictions(http, EMPTY, strange, probabilities=True)
    assert empty["probabilities"] == unknown["probabilities"]
    assert empty["history"] == {"known": 0, "unknown": 0, "prior": True}
    assert unknown["history"] == {"known": 0, "unknown": 2, "prior": True}
    assert (empty["unknown"], unknown["unknown"]) == ([], ["history"])


def test_an_answer_does_not_depend_on_what_is_asked_beside_it(http: httpx.Client) -> None:
    """Longer histories pad it, and many rows are cut into several runs."""
    alone = predictions(http, SHORT, probabilities=True)[0]
    long = {"items": ["label 0", "gone"] * 20, "days_ago": list(range(40))}
    together = predictions(http, *([long, SHORT, EMPTY] * 100), probabilities=True)
    assert len(together) == 300
    for one in together[1::3]:
        assert one["history"] == alone["history"]
        found, expected = (list(each["probabilities"].values()) for each in (one, alone))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_seen_items_are_left_out_and_the_others_keep_their_probability(http: httpx.Client) -> None:
    """Nothing is rescaled; what was left is counted."""
    (whole,) = predictions(http, SHORT, probabilities=True)
    (found,) = predictions(http, SHORT, probabilities=True, exclude_seen=True, logits=True)
    kept = {label: value for label, value in whole["probabilities"].items() if label != "label 1"}
    assert found["probabilities"] == kept
    assert list(found["logits"]) == list(kept)
    assert found["label"] == max(kept, key=lambda label: kept[label])
    assert [one["label"] for one in found["top"]] == sorted(kept, key=lambda label: -kept[label])
    assert found["considered"]["labels"] == 2
    assert found["considered"]["probability"] == pytest.approx(sum(kept.values()))
    assert found["history"] == whole["history"]


def test_rows_leave_out_what_each_has_seen(http: httpx.Client) -> None:
    """An item that is no label leaves nothing out."""
    other = {"items": ["no label", "label 0"], "days_ago": [1, 1]}
    found = predictions(http, SHORT, other, EMPTY, exclude_seen=True)
    assert [{one["label"] for one in each["top"]} for each in found] == [
        {"label 0", "label 2"},
        {"label 1", "label 2"},
        set(LABELS),
    ]


def test_only_candidates_are_answered(http: httpx.Client) -> None:
    """Of a model of any kind of input; one that is named twice counts once."""
    (found,) = predictions(http, SHORT, candidates=["label 2", "label 1", "label 2"], exclude_seen=True)
    assert [one["label"] for one in found["top"]] == ["label 2"]
    assert found["considered"]["labels"] == 1
    (image,) = predictions(http, artifacts.rows(1)[0], model="tiny", candidates=["label 0"], probabilities=True)
    assert list(image["probabilities"]) == ["label 0"]


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"candidates": ["label 0", "gone"]}, "/parameters/candidates/1"),
        ({"candidates": []}, "/parameters/candidates"),
        ({"candidates": "label 0"}, "/parameters/candidates"),
        ({"candidates": None}, "/parameters/candidates"),
        ({"candidates": ["label 0", 1]}, "/parameters/candidates/1"),
        ({"exclude_seen": 1}, "/parameters/exclude_seen"),
        ({"candidates": ["label 1"], "exclude_seen": True}, "/instances/0"),
    ],
)
def test_what_cannot_be_left_out_is_refused_at_its_place(
    parameters: dict[str, Any], pointer: str, http: httpx.Client
) -> None:
    """One problem, with none of the caller's words."""
    answer = predict(http, SHORT, **parameters)
    assert (answer.status_code, answer.json()["code"]) == (422, "PARAMETER")
    assert answer.json()["pointer"] == pointer
    assert "gone" not in answer.text


@pytest.mark.parametrize("parameters", [{"exclude_seen": True}, {"candidates": ["label 0"], "coverage": 0.9}])
def test_an_image_has_no_history_and_a_promise_holds_for_all_labels(
    parameters: dict[str, Any], http: httpx.Client
) -> None:
    """Refused rather than answered without it."""
    answer = predict(http, artifacts.rows(1)[0], model="tiny", **parameters)
    assert (answer.status_code, answer.json()["code"]) == (422, "PARAMETER")


@pytest.mark.parametrize(
    ("instance", "code", "pointer"),
    [
        ({"items": ["label 0"], "days_ago": []}, "INPUT_SHAPE", "/days_ago"),
        ({"items": ["label 0", 3], "days_ago": [1, 1]}, "TYPE", "/items/1"),
        ({"items": ["label 0"] * 41, "days_ago": [1] * 41}, "INPUT_SHAPE", "/items"),
        (["label 0"], "TYPE", ""),
    ],
)
def test_a_wrong_history_is_named(instance: Any, code: str, pointer: str, http: httpx.Client) -> None:
    """In V1 by its row, in V2 by its element; it costs the rows beside it nothing but their answer."""
    answer = predict(http, EMPTY, instance)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["pointer"] == f"/instances/1{pointer}"
    answer = infer(http, EMPTY, instance)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["pointer"] == f"/inputs/0/data/1{pointer}"


def infer(http: httpx.Client, *instances: Any) -> httpx.Response:
    data = [one if isinstance(one, str) else json.dumps(one) for one in instances]
    given = {"name": "history", "shape": [len(data)], "datatype": "BYTES", "data": data}
    return http.post("/v2/models/history/infer", json={"inputs": [given], "outputs": [{"name": "probabilities"}]})


def test_the_open_inference_protocol_takes_the_same_as_text(http: httpx.Client) -> None:
    """And gives the same bits."""
    answer = infer(http, *artifacts.HISTORY_ROWS)
    assert answer.status_code == 200, answer.text
    output = answer.json()["outputs"][0]
    np.testing.assert_array_equal(
        np.array(output["data"], dtype=np.float32).reshape(output["shape"]), exact(*artifacts.HISTORY_ROWS)
    )
    metadata = http.get("/v2/models/history").json()
    assert metadata["inputs"] == [{"name": "history", "datatype": "BYTES", "shape": [-1, 1]}]
    assert metadata["parameters"]["inputs"]["history"]["items_count"] == 4


@pytest.mark.parametrize(
    "text", ["", "{", '{"items": [], "days_ago": [], "items": []}', '{"items": [[[]]], "days_ago": []}']
)
def test_text_that_is_no_json_is_refused_at_its_element(text: str, http: httpx.Client) -> None:
    """As strictly as a body."""
    answer = infer(http, EMPTY, text)
    assert answer.status_code == 400
    assert answer.json()["code"] in {"JSON_INVALID", "DUPLICATE_KEY", "DEPTH"}
    assert answer.json()["pointer"] == "/inputs/0/data/1"


def test_the_client_passes_both_on(running: Running) -> None:
    """And reads what was left."""
    with Client(running.url) as client:
        (found,) = client.predict([SHORT], candidates=["label 0", "label 1"], exclude_seen=True)
        assert [one.label for one in found.top] == ["label 0"]
        assert found.considered is not None
        assert found.considered.labels == 1
        assert found.history is not None
        assert (found.history.known, found.history.unknown, found.history.prior) == (1, 0, False)
        (plain,) = client.predict([EMPTY])
        assert plain.considered is None
        with pytest.raises(TypeError, match="candidates are a list of labels"):
            client.predict([SHORT], candidates="label 0")


def test_the_pages_know_histories(http: httpx.Client) -> None:
    """The OpenAPI document and the playground's model."""
    text = json.dumps(http.get("/openapi.json").json())
    assert "days_ago" in text
    model = http.get("/playground/models/history/1.json").json()
    assert model["inputs"][0]["items_count"] == 4
    assert model["examples"][0]["values"]["history"]["items"][0] == "label 2"
