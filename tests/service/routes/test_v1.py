"""The V1 predict protocol through a real socket."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests import artifacts
from tests.service.engine import breaking
from tests.service.running import Running, serving

LABELS = ["label 0", "label 1", "label 2"]


def ask(http: httpx.Client, path: str, instances: list[Any], **parameters: object) -> dict[str, Any]:
    """The answer to instances, which must be one."""
    body = {"instances": instances} | ({"parameters": parameters} if parameters else {})
    response = http.post(path, json=body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    found: dict[str, Any] = response.json()
    assert found["request_id"] == response.headers["x-request-id"]
    return found


def as_float32(numbers: Iterable[float]) -> list[float]:
    """Decimal digits as the float32 that they stand for."""
    return [float(np.float32(number)) for number in numbers]


@pytest.mark.parametrize("count", [1, 3, 100])
@pytest.mark.parametrize(
    ("path", "version"), [("/predict", 2), ("/v1/models/tiny:predict", 2), ("/v1/models/tiny/versions/1:predict", 1)]
)
def test_answers_equal_onnxruntime_exactly(
    http: httpx.Client, models: Path, path: str, version: int, count: int
) -> None:
    """Every probability and logit of every row, whatever the size of the batch."""
    rows = artifacts.rows(count, seed=count)
    content = (models / "tiny" / str(version) / "model.onnx").read_bytes()
    logits, probabilities = artifacts.run(content, rows)
    answer = ask(http, path, rows, top_k=3, probabilities=True, logits=True)
    assert (answer["model"], answer["version"], answer["provider"]) == ("tiny", version, "cpu")
    assert len(answer["predictions"]) == count
    for row, expected, expected_logits in zip(answer["predictions"], probabilities, logits, strict=True):
        assert as_float32(row["probabilities"].values()) == expected.tolist()
        assert as_float32(row["logits"].values()) == expected_logits.tolist()
        assert list(row["probabilities"]) == list(row["logits"]) == LABELS
        assert row["label"] == row["top"][0]["label"] == LABELS[int(expected.argmax())]
        assert row["probability"] == row["top"][0]["probability"]
        assert as_float32(top["probability"] for top in row["top"]) == sorted(expected.tolist(), reverse=True)
        assert row["out_of_range"] is False


def test_nested_flat_named_and_encoded_images_are_the_same(http: httpx.Client) -> None:
    """Whatever form a client has its pixels in."""
    (flat,) = artifacts.rows(1)
    pixels = np.array(flat, dtype=np.uint8).reshape(artifacts.SHAPE)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    encoded = {"b64": base64.b64encode(png.getvalue()).decode()}
    answer = ask(http, "/predict", [flat, pixels.tolist(), {"image": flat}, encoded, {"image": encoded}])
    assert all(row == answer["predictions"][0] for row in answer["predictions"])


@pytest.mark.parametrize(("top_k", "expected"), [(1, 1), (2, 2), (3, 3), (4, 3), (10**18, 3)])
def test_top_k_gives_so_many_or_all(http: httpx.Client, top_k: int, expected: int) -> None:
    """Above the number of labels there is nothing more to give."""
    (row,) = ask(http, "/predict", artifacts.rows(1), top_k=top_k)["predictions"]
    assert len(row["top"]) == expected
    assert "probabilities" not in row
    assert "logits" not in row


def test_absurd_inputs_are_clipped_and_flagged(http: httpx.Client) -> None:
    """Finite is fine; the flag says that training never saw it."""
    (good,) = artifacts.rows(1)
    absurd = [1e38, -1e38, *good[2:]]
    clipped = [255.0, 0.0, *good[2:]]
    first, second, third = ask(http, "/predict", [good, absurd, clipped])["predictions"]
    assert [first["out_of_range"], second["out_of_range"], third["out_of_range"]] == [False, True, False]
    assert second["top"] == third["top"]


def test_a_connection_is_used_again(http: httpx.Client) -> None:
    """After answers and after refusals of a whole body."""
    with http.stream("POST", "/predict", json={"instances": []}) as response:
        first = response.extensions["network_stream"].get_extra_info("client_addr")
        response.read()
    with http.stream("POST", "/predict", json={"instances": artifacts.rows(1)}) as response:
        assert response.extensions["network_stream"].get_extra_info("client_addr") == first
        response.read()


def test_a_percent_encoded_name_is_that_name(http: httpx.Client) -> None:
    """The path is compared after decoding."""
    assert ask(http, "/v1/models/%74iny:predict", artifacts.rows(1))["model"] == "tiny"


BROKEN = [
    (breaking.flip_bit, "model.onnx", "sha256"),
    (breaking.add_label, "manifest.json", "labels"),
    (breaking.drop_golden, "manifest.json", "golden"),
    (breaking.half_copy, "model.onnx", "file"),
]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of models whose first version is good and whose second is not, each in its own way."""
    folder = tmp_path_factory.mktemp("damaged")
    for broken, _, _ in BROKEN:
        artifacts.publish(folder / "models", broken.__name__)
        broken(artifacts.publish(folder / "models", broken.__name__))
    with serving(folder / "models", folder) as running:
        yield running


@pytest.mark.parametrize(("name", "file", "field"), [(row[0].__name__, *row[1:]) for row in BROKEN])
def test_a_refused_version_shows_its_reason_and_the_good_one_answers(
    damaged: Running, name: str, file: str, field: str
) -> None:
    """File, field, expected and found; no path of the server."""
    with httpx.Client(base_url=damaged.url) as http:
        assert ask(http, f"/v1/models/{name}:predict", artifacts.rows(1))["version"] == 1
        assert http.post(f"/v1/models/{name}/versions/2:predict", json={}).json()["code"] == "MODEL_NOT_FOUND"
        status = http.get(f"/v1/models/{name}").json()
    bad, good = status["model_version_status"]
    assert status["ready"]
    assert (good["version"], good["state"], good["status"]["error_code"]) == ("1", "AVAILABLE", "OK")
    assert (bad["version"], bad["state"], bad["status"]["error_code"]) == ("2", "END", "FAILED_PRECONDITION")
    assert (bad["reason"]["file"], bad["reason"]["field"]) == (file, field)
    assert bad["reason"]["expected"] != bad["reason"]["found"]
    assert str(damaged.log.parent) not in json.dumps(status)
    (refused,) = [event for event in damaged.events() if event["event"] == "version refused" and event["model"] == name]
    assert refused["version"] == 2


def test_several_models_have_no_default(damaged: Running) -> None:
    """Unless one is chosen, `/predict` says how to name one."""
    answer = httpx.post(f"{damaged.url}/predict", json={"instances": artifacts.rows(1)})
    assert (answer.status_code, answer.json()["code"]) == (404, "MODEL_NOT_FOUND")


def test_head_is_get_without_a_body(http: httpx.Client) -> None:
    """For every page and status."""
    for path in ("/v1/models/tiny", "/v2/health/live", "/docs", "/openapi.json"):
        head, get = http.head(path), http.get(path)
        assert head.status_code == get.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == str(len(get.content))
