"""How unlike the training data a row is, in V1 and V2, through a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from pydantic import TypeAdapter

from clipmax import Client, manifest, novelty
from clipmax.client.predictions import columns
from clipmax.refusal import Refusal
from service.engine.providers import Execution
from service.engine.session import Session
from tests import artifacts
from tests.service.running import serving

TABLE = TypeAdapter(novelty.Novelty).validate_python(artifacts.NOVELTY)
ROWS = artifacts.rows(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version with a novelty; 300 rows are more than one run takes."""
    return artifacts.publish_novel(tmp_path_factory.mktemp("models"), novelty=artifacts.NOVELTY)


@pytest.fixture(scope="module")
def http(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a service of that version."""
    with (
        serving(folder.parents[1], tmp_path_factory.mktemp("service")) as running,
        httpx.Client(base_url=running.url, timeout=30) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def scores(folder: Path) -> artifacts.Floats:
    """By onnxruntime itself."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    image = np.array(ROWS, dtype=np.float32).reshape(-1, *artifacts.SHAPE)
    found: artifacts.Floats = session.run(["novelty"], {"image": image})[0]
    return found


def _predictions(http: httpx.Client, **parameters: Any) -> list[dict[str, Any]]:
    response = http.post("/predict", json={"instances": ROWS, "parameters": parameters})
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["predictions"]
    return found


def test_a_prediction_has_the_graphs_score_and_its_p_value(http: httpx.Client, scores: artifacts.Floats) -> None:
    """The same bits, with everything else that was asked for beside it."""
    rows = _predictions(http, novelty=True, probabilities=True)
    assert all(set(row["novelty"]) == {"score", "p_value"} and "probabilities" in row for row in rows)
    assert [np.float32(row["novelty"]["score"]) for row in rows] == scores.tolist()
    assert [row["novelty"]["p_value"] for row in rows] == novelty.p_values(TABLE, scores).tolist()


@pytest.mark.parametrize("parameters", [{}, {"novelty": False}, {"top_k": 1}])
def test_novelty_is_there_only_when_asked_for(http: httpx.Client, parameters: dict[str, Any]) -> None:
    """As everything that has a parameter."""
    assert all("novelty" not in row for row in _predictions(http, **parameters))


def test_the_client_reads_it(http: httpx.Client, scores: artifacts.Floats) -> None:
    """Typed, and as columns; None where it was not asked for."""
    with Client(str(http.base_url)) as client:
        found, bare = client.predict(ROWS, novelty=True), client.predict(ROWS[:1])
    assert [np.float32(one.novelty.score) for one in found if one.novelty] == scores.tolist()
    assert columns(found)["novelty_p_value"] == novelty.p_values(TABLE, scores).tolist()
    assert bare[0].novelty is None
    assert "novelty_score" not in columns(bare)


def test_v2_has_the_score_as_an_output(http: httpx.Client, scores: artifacts.Floats) -> None:
    """One number a row, in the metadata, among all outputs, alone, and raw."""
    outputs = http.get("/v2/models/novel").json()["outputs"]
    assert {"name": "novelty", "datatype": "FP32", "shape": [-1]} in outputs
    tensor = {"name": "image", "datatype": "FP32", "shape": [300, 4, 4], "data": np.ravel(ROWS).tolist()}
    every = http.post("/v2/models/novel/infer", json={"inputs": [tensor]}).json()["outputs"]
    alone = http.post("/v2/models/novel/infer", json={"inputs": [tensor], "outputs": [{"name": "novelty"}]}).json()
    for output in (every[[one["name"] for one in every].index("novelty")], *alone["outputs"]):
        assert output["shape"] == [300]
        assert np.array_equal(np.array(output["data"], dtype=np.float32), scores)
    wanted = [{"name": "novelty", "parameters": {"binary_data": True}}]
    raw = http.post("/v2/models/novel/infer", json={"inputs": [tensor], "outputs": wanted})
    json_bytes = int(raw.headers["inference-header-content-length"])
    assert np.array_equal(np.frombuffer(raw.content[json_bytes:], dtype=np.float32), scores)


def test_novelty_has_no_classes(http: httpx.Client) -> None:
    """The classification extension is for outputs of one number a label."""
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 4, 4], "data": ROWS[0]}
    wanted = [{"name": "novelty", "parameters": {"classification": 2}}]
    response = http.post("/v2/models/novel/infer", json={"inputs": [tensor], "outputs": wanted})
    assert (response.status_code, response.json()["code"]) == (400, "PARAMETER")


def test_an_output_without_values_is_refused(tmp_path: Path) -> None:
    """And values without an output: one means nothing without the other."""
    with pytest.raises(Refusal, match="novelty"):
        artifacts.publish_novel(tmp_path)
    with pytest.raises(Refusal, match="novelty"):
        artifacts.publish(tmp_path, novelty=artifacts.NOVELTY)


def test_a_graph_without_the_output_that_its_manifest_names_is_refused(tmp_path: Path) -> None:
    """At loading, before it serves."""
    outputs = ["logits", "probabilities", "novelty"]
    folder = artifacts.publish(tmp_path, outputs=outputs, novelty=artifacts.NOVELTY)
    with pytest.raises(Refusal, match="outputs"):
        Session.load(folder, manifest.load(folder), Execution())
