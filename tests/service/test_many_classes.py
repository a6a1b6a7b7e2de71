"""A graph of very many classes over HTTP: the likeliest, and the rest together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import numpy_helper

from clipmax.client import Client
from clipmax.client.errors import ClientError
from service.reading import binary
from tests import artifacts
from tests.service.running import Running, serving

LABELS, TOP_K = 12_000, 10
APPROXIMATE = {
    "name": "full",
    "width": 16,
    "approximate": {
        "cells": 60,
        "probed": 4,
        "dimensions": 8,
        "recall_at_k": 0.995,
        "k": 5,
        "log_partition_error": 0.04,
        "log_partition_worst": 0.2,
        "p50_ms": 0.1,
        "exact_p50_ms": 0.2,
        "rows": 100,
    },
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`many` with a threshold, `near` that says it is approximate, and `whole` with a probability for each label."""
    models = tmp_path_factory.mktemp("models")
    artifacts.publish_top(models, labels=LABELS, top_k=TOP_K, abstention=artifacts.ABSTENTION)
    artifacts.publish_top(models, "near", labels=LABELS, top_k=TOP_K, head=APPROXIMATE)
    artifacts.publish(models, "whole", labels=LABELS)
    return models


@pytest.fixture(scope="module")
def running(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    bounds = ("--max-answer-values", "30000", "--default-model", "many")
    with serving(root, tmp_path_factory.mktemp("service"), *bounds) as running:
        yield running


@pytest.fixture
def http(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=30) as client:
        yield client


def predict(http: httpx.Client, rows: int = 1, *, model: str = "many", **parameters: Any) -> httpx.Response:
    body = {"instances": artifacts.rows(rows), "parameters": parameters}
    return http.post(f"/v1/models/{model}:predict", json=body)


def exact(rows: list[list[float]], labels: int = LABELS) -> np.ndarray:
    """The probabilities in float64, from the graph's weights alone."""
    graph = artifacts.top_model(1, labels, TOP_K).graph
    weight = next(numpy_helper.to_array(one) for one in graph.initializer if one.name == "weight")
    logits = np.array(rows) / 255 @ weight.astype(np.float64) / artifacts.TEMPERATURE
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("top_k", [1, 5, TOP_K, 1000])
def test_the_likeliest_labels_are_the_exact_ones_and_sum_to_one_with_the_rest(http: httpx.Client, top_k: int) -> None:
    """As many as asked for, at most as many as the graph gives."""
    found = predict(http, 6, top_k=top_k).json()["predictions"]
    for row, expected in zip(found, exact(artifacts.rows(6)), strict=True):
        order = np.argsort(-expected, kind="stable")[: min(top_k, TOP_K)]
        assert [top["label"] for top in row["top"]] == [f"label {index}" for index in order]
        assert [top["probability"] for top in row["top"]] == pytest.approx(expected[order], abs=1e-6)
        assert sum(top["probability"] for top in row["top"]) + row["remainder"] == pytest.approx(1, abs=1e-4)


def test_a_hundred_thousand_labels_are_answered_exactly(tmp_path: Path) -> None:
    """The five likeliest, with probabilities that sum to 1 with the rest."""
    artifacts.publish_top(tmp_path / "models", labels=100_000)
    with serving(tmp_path / "models", tmp_path) as running, httpx.Client(base_url=running.url) as http:
        found = predict(http, 4, top_k=5).json()["predictions"]
    for row, expected in zip(found, exact(artifacts.rows(4), 100_000), strict=True):
        order = np.argsort(-expected, kind="stable")[:5]
        assert [top["label"] for top in row["top"]] == [f"label {index}" for index in order]
        assert sum(top["probability"] for top in row["top"]) + row["remainder"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("parameter", [{"probabilities": True}, {"logits": True}, {"coverage": 0.9}])
def test_what_needs_every_label_is_refused(http: httpx.Client, parameter: dict[str, Any]) -> None:
    """The answer says what there is instead."""
    problem = predict(http, **parameter)
    (name,) = parameter
    assert problem.status_code == 422
    assert (problem.json()["code"], problem.json()["pointer"]) == ("PARAMETER", f"/parameters/{name}")
    assert "10 likeliest of its 12000 labels; ask for top_k" in problem.json()["detail"]


def test_abstention_needs_only_the_likeliest_label(http: httpx.Client) -> None:
    """So it is there for such a graph too."""
    (row,) = predict(http, abstain=True).json()["predictions"]
    assert row["abstained"] is (row["probability"] < artifacts.ABSTENTION["threshold"])


def test_an_estimate_is_called_approximate(http: httpx.Client) -> None:
    """In every answer of such a version, and in no other's."""
    assert predict(http, model="near").json()["approximate"] is True
    assert "approximate" not in predict(http).json()
    tensor = {"name": "image", "shape": [1, 4, 4], "datatype": "FP32", "data": artifacts.rows(1)[0]}
    v2 = http.post("/v2/models/near/infer", json={"inputs": [tensor]}).json()
    assert v2["parameters"] == {"provider": "cpu", "approximate": True}
    assert http.get("/v2/models/near").json()["parameters"]["approximate"] is True


def test_whole_vectors_are_refused_above_a_bound(http: httpx.Client) -> None:
    """Of rows times labels; below it they are given."""
    assert len(predict(http, 2, model="whole", probabilities=True).json()["predictions"][1]["probabilities"]) == LABELS
    problem = predict(http, 3, model="whole", probabilities=True).json()
    assert problem["code"] == "PARAMETER"
    assert "3 rows of 12000 labels are 36000 numbers, the limit is 30000" in problem["detail"]
    assert predict(http, 3, model="whole").status_code == 200
    tensor = {"name": "image", "shape": [3, 4, 4], "datatype": "FP32", "data": np.ravel(artifacts.rows(3)).tolist()}
    v2 = http.post("/v2/models/whole/infer", json={"inputs": [tensor]})
    assert (v2.status_code, v2.json()["pointer"]) == (400, "/outputs")
    assert http.post("/v2/models/whole/infer", json={"inputs": [tensor], "outputs": [{"name": "label"}]}).is_success


def test_v2_gives_the_three_outputs_as_tensors(http: httpx.Client) -> None:
    """With the classification extension on the probabilities; their labels by name."""
    rows = artifacts.rows(2)
    tensor = {"name": "image", "shape": [2, 4, 4], "datatype": "FP32", "data": np.ravel(rows).tolist()}
    names = ("top_indices", "top_probabilities", "log_partition", "label")
    body = {"inputs": [tensor], "outputs": [{"name": name} for name in names]}
    found = {one["name"]: one for one in http.post("/v2/models/many/infer", json=body).json()["outputs"]}
    assert [found[name]["datatype"] for name in names] == ["INT64", "FP32", "FP32", "BYTES"]
    assert [found[name]["shape"] for name in names] == [[2, TOP_K], [2, TOP_K], [2], [2]]
    best = np.argmax(exact(rows), axis=1)
    assert found["top_indices"]["data"][::TOP_K] == best.tolist()
    assert found["label"]["data"] == [f"label {index}" for index in best]
    body["outputs"] = [{"name": "top_probabilities", "parameters": {"classification": 2}}]
    (classes,) = http.post("/v2/models/many/infer", json=body).json()["outputs"]
    assert classes["shape"] == [2, 2]
    assert classes["data"][0].split(":")[1:] == [str(best[0]), f"label {best[0]}"]


def test_v2_gives_the_indices_raw(http: httpx.Client) -> None:
    """Eight bytes each, little-endian."""
    tensor = {"name": "image", "shape": [1, 4, 4], "datatype": "FP32", "data": artifacts.rows(1)[0]}
    wanted = {"name": "top_indices", "parameters": {"binary_data": True}}
    answer = http.post("/v2/models/many/infer", json={"inputs": [tensor], "outputs": [wanted]})
    raw = answer.content[int(answer.headers[binary.HEADER.decode()]) :]
    order = np.argsort(-exact(artifacts.rows(1))[0], kind="stable")[:TOP_K]
    assert np.frombuffer(raw, "<i8").tolist() == order.tolist()


@pytest.mark.parametrize("name", ["top_indices", "log_partition"])
def test_v2_has_classes_of_probabilities_only(http: httpx.Client, name: str) -> None:
    """And no outputs that the graph does not have."""
    tensor = {"name": "image", "shape": [1, 4, 4], "datatype": "FP32", "data": artifacts.rows(1)[0]}
    wanted = {"name": name, "parameters": {"classification": 2}}
    problem = http.post("/v2/models/many/infer", json={"inputs": [tensor], "outputs": [wanted]}).json()
    assert problem["code"] == "PARAMETER"
    problem = http.post("/v2/models/many/infer", json={"inputs": [tensor], "outputs": [{"name": "logits"}]}).json()
    assert problem["code"] == "OUTPUT_NAME"


def test_no_description_lists_so_many_labels(http: httpx.Client) -> None:
    """They say how many there are."""
    metadata = http.get("/v2/models/many").json()
    assert (len(metadata["parameters"]["labels"]), metadata["parameters"]["labels_count"]) == (1000, LABELS)
    assert metadata["outputs"][0] == {"name": "top_indices", "datatype": "INT64", "shape": [-1, TOP_K]}
    page = http.get("/playground/models/many/1.json").json()
    assert (len(page["labels"]), page["labels_count"], page["coverage"]) == (1000, LABELS, False)
    assert page["examples"][0]["label"].startswith("label ")
    text = http.get("/openapi.json").text
    assert '"label 999"' in text
    assert '"label 1000"' not in text


def test_metrics_count_few_labels_one_by_one(http: httpx.Client) -> None:
    """The others together; of such a graph there is a confidence and no entropy."""
    predict(http, 7)
    lines = [line for line in http.get("/metrics").text.splitlines() if 'model="many"' in line]
    assert sum(line.startswith("clipmax_predictions_total") for line in lines) <= 51
    counts = {line.split("{")[0]: float(line.split()[-1]) for line in lines if "_count{" in line}
    assert counts["clipmax_confidence_count"] >= 7
    assert counts["clipmax_entropy_count"] == 0


def test_the_client_reads_the_rest_and_refuses_arrays(running: Running) -> None:
    """There is no array of every label's probability."""
    with Client(running.url) as client:
        (row,) = client.predict(artifacts.rows(1), model="near", top_k=4)
        assert len(row.top) == 4
        assert row.remainder is not None
        assert sum(top.probability for top in row.top) + row.remainder == pytest.approx(1, abs=1e-4)
        assert row.approximate
        with pytest.raises(ClientError, match="gives the likeliest of its 12000 labels; use predict"):
            client.infer(np.zeros((1, *artifacts.SHAPE), dtype=np.float32), model="many")
