"""The clients of other servers, as installed, against a real service."""

from __future__ import annotations

import asyncio
import json
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests import artifacts
from tests.service.running import Running

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # gevent and its kin warn on import
    from tritonclient import http as triton
    from tritonclient.utils import InferenceServerException

RAW = pytest.mark.parametrize("raw_in", [True, False], ids=["raw-in", "json-in"])
RAW_OUT = pytest.mark.parametrize("raw_out", [True, False], ids=["raw-out", "json-out"])


@pytest.fixture
def client(kinds_service: Running) -> Iterator[Any]:
    """Triton's HTTP client."""
    with triton.InferenceServerClient(f"127.0.0.1:{kinds_service.port}") as found:
        yield found


def given(name: str, datatype: str, values: np.ndarray[Any, Any], *, raw: bool) -> Any:
    """Triton's input tensor."""
    found = triton.InferInput(name, list(values.shape), datatype)
    found.set_data_from_numpy(values, binary_data=raw)
    return found


def words(values: Any) -> list[str]:
    """BYTES as Triton's client gives them: bytes from a frame, str from JSON."""
    return [value.decode() if isinstance(value, bytes) else value for value in values.reshape(-1).tolist()]


def expected(kinds: Path, model: str, instances: list[Any], schema: list[dict[str, Any]]) -> artifacts.Floats:
    return artifacts.run((kinds / model / "1" / "model.onnx").read_bytes(), instances, schema)[1]


def test_triton_s_client_sees_the_service(client: Any) -> None:
    """Health, metadata and index."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert not client.is_model_ready("tiny", "9")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("table")["inputs"][2]["datatype"] == "BYTES"
    states = {one["name"]: one["state"] for one in client.get_model_repository_index()}
    assert states == {"table": "READY", "text": "READY", "tiny": "READY"}


@RAW
@RAW_OUT
def test_triton_s_client_sends_images(client: Any, kinds: Path, raw_in: bool, raw_out: bool) -> None:
    """FP32 and UINT8, outputs as asked, classes and labels as BYTES."""
    rows = artifacts.rows(3)
    wanted = expected(kinds, "tiny", rows, artifacts.IMAGE)
    outputs = [
        triton.InferRequestedOutput("probabilities", binary_data=raw_out),
        triton.InferRequestedOutput("label", binary_data=raw_out),
        triton.InferRequestedOutput("out_of_range", binary_data=raw_out),
        triton.InferRequestedOutput("logits", binary_data=raw_out, class_count=2),
    ]
    for datatype, dtype in (("FP32", np.float32), ("UINT8", np.uint8)):
        images = np.array(rows).astype(dtype).reshape(3, 4, 4)
        answer = client.infer("tiny", [given("image", datatype, images, raw=raw_in)], outputs=outputs, request_id="7")
        np.testing.assert_array_equal(answer.as_numpy("probabilities"), wanted)
        best = wanted.argmax(axis=1)
        assert words(answer.as_numpy("label")) == [f"label {index}" for index in best]
        assert answer.as_numpy("out_of_range").tolist() == [False] * 3
        classes = answer.as_numpy("logits")
        assert classes.shape == (3, 2)
        assert [text.split(":")[1] for text in words(classes[:, 0])] == [str(index) for index in best]
        assert answer.get_response()["id"] == "7"


@RAW
def test_triton_s_client_sends_words_and_texts(client: Any, kinds: Path, raw_in: bool) -> None:
    """One tensor a column, BYTES for words; all outputs raw where none is named."""
    wanted = expected(kinds, "table", [[30, 1_650_000_100, "Rome"], [7, 1_650_000_200, "Bern"]], artifacts.TABLE)
    columns = [
        given("age", "FP32", np.array([30, 7], dtype=np.float32), raw=raw_in),
        given("seen", "FP64", np.array([[1_650_000_100.0], [1_650_000_200.0]]), raw=raw_in),
        given("city", "BYTES", np.array(["Rome", "Bern"], dtype=object), raw=raw_in),
    ]
    np.testing.assert_array_equal(client.infer("table", columns).as_numpy("probabilities"), wanted)
    texts = np.array([["banana"], ["nö"]], dtype=object)
    wanted = expected(kinds, "text", ["banana", "nö"], artifacts.TEXT)
    answer = client.infer("text", [given("text", "BYTES", texts, raw=raw_in)], model_version="1")
    np.testing.assert_array_equal(answer.as_numpy("probabilities"), wanted)


def test_triton_s_client_shows_our_errors(client: Any) -> None:
    """Its exception has our `error`, code and all."""
    wrong = given("image", "FP32", np.zeros((1, 15), dtype=np.float32), raw=True)
    with pytest.raises(InferenceServerException, match=r"INPUT_SHAPE: the model needs \[N, 4, 4\] or \[N, 16\]"):
        client.infer("tiny", [wrong])
    with pytest.raises(InferenceServerException, match="MODEL_NOT_FOUND"):
        client.get_model_metadata("none")


def test_triton_s_asynchronous_client_works_too(kinds_service: Running, kinds: Path) -> None:
    """It names JSON application/octet-stream."""
    rows = artifacts.rows(2)
    images = np.array(rows, dtype=np.float32).reshape(2, 16)

    async def ask(*, raw: bool) -> Any:
        from tritonclient.http import aio

        async with aio.InferenceServerClient(f"127.0.0.1:{kinds_service.port}") as client:
            return await client.infer("tiny", [given("image", "FP32", images, raw=raw)])

    for raw in (True, False):
        found = asyncio.run(ask(raw=raw)).as_numpy("probabilities")
        np.testing.assert_array_equal(found, expected(kinds, "tiny", rows, artifacts.IMAGE))


def test_kserve_s_client_works(kinds_service: Running, kinds: Path) -> None:
    """V1 and V2 over its REST client."""
    reason = "kserve holds protobuf below our onnx's; install it in an environment of its own to run this"
    kserve = pytest.importorskip("kserve", reason=reason)
    rows = artifacts.rows(2)

    async def ask() -> tuple[Any, Any]:
        image = kserve.InferInput("image", [2, 16], "FP32")
        image.set_data_from_numpy(np.array(rows, dtype=np.float32), binary_data=False)
        request = kserve.InferRequest("tiny", [image])
        v2 = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
        assert await v2.is_server_ready(kinds_service.url)
        assert await v2.is_model_ready(kinds_service.url, "tiny")
        v1 = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1"))
        return (
            await v2.infer(kinds_service.url, request, model_name="tiny"),
            await v1.infer(kinds_service.url, {"instances": rows}, model_name="tiny"),
        )

    second, first = asyncio.run(ask())
    wanted = expected(kinds, "tiny", rows, artifacts.IMAGE)
    found = {output.name: output for output in second.outputs}["probabilities"]
    np.testing.assert_array_equal(found.as_numpy().astype(np.float32), wanted)
    assert [row["label"] for row in first["predictions"]] == [f"label {index}" for index in wanted.argmax(axis=1)]


def test_curl_as_written_for_tensorflow_serving_works(kinds_service: Running, kinds: Path) -> None:
    """Its documented command sends a form's media type with -d, so the header has to be named."""
    body = json.dumps({"instances": artifacts.rows(1)})
    url = f"{kinds_service.url}/v1/models/tiny:predict"
    command = ["curl", "--silent", "-H", "Content-Type: application/json", "-d", body, "-X", "POST", url]
    done = subprocess.run(command, capture_output=True, check=True, timeout=30)
    (row,) = json.loads(done.stdout)["predictions"]
    wanted = expected(kinds, "tiny", artifacts.rows(1), artifacts.IMAGE)
    assert row["label"] == f"label {wanted.argmax()}"
    status = httpx.get(f"{kinds_service.url}/v1/models/tiny").json()["model_version_status"]
    assert status == [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]
