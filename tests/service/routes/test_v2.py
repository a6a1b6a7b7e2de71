"""The Open Inference Protocol through a real socket: metadata, every kind of input, JSON and raw tensors."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from service.reading import binary
from service.routes import v2
from tests import artifacts
from tests.service.engine import breaking
from tests.service.running import serving

LABELS = ["label 0", "label 1", "label 2"]
OUTPUTS = ["logits", "probabilities", "label", "out_of_range"]


def infer(http: httpx.Client, model: str, *inputs: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The outputs of an answer in JSON, by name."""
    response = http.post(f"/v2/models/{model}/infer", json={"inputs": inputs} | members)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in response.headers
    return {one["name"]: one for one in response.json()["outputs"]}


def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def probabilities(outputs: dict[str, Any]) -> npt.NDArray[np.float32]:
    found = outputs["probabilities"]
    return np.array(found["data"], dtype=np.float32).reshape(found["shape"])


def expected(
    kinds: Path, model: str, instances: list[Any], schema: list[dict[str, Any]]
) -> tuple[artifacts.Floats, artifacts.Floats]:
    """Logits and probabilities by onnxruntime itself."""
    return artifacts.run((kinds / model / "1" / "model.onnx").read_bytes(), instances, schema)


def test_the_server_says_what_it_can(kinds_http: httpx.Client) -> None:
    """Name, version, the extensions that are offered, the default model and what one request may hold."""
    found = kinds_http.get("/v2").json()
    assert found["name"] == "clipmax"
    assert found["extensions"] == ["classification", "binary_tensor_data"]
    assert found["parameters"] == {
        "default_model": "tiny",
        "limits": {"max_batch_rows": 100, "max_body_bytes": 300_000},
    }


@pytest.mark.parametrize("path", ["/v2/models/tiny", "/v2/models/tiny/versions/1"])
def test_metadata_names_inputs_outputs_and_labels(kinds_http: httpx.Client, path: str) -> None:
    """Enough to write a request."""
    found = kinds_http.get(path).json()
    assert (found["name"], found["versions"], found["platform"]) == ("tiny", ["1"], "onnxruntime_onnx")
    assert found["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 4, 4]}]
    assert [one["name"] for one in found["outputs"]] == OUTPUTS
    assert found["outputs"][1] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}
    assert found["parameters"]["labels"] == LABELS
    assert found["parameters"]["provider"] == "cpu"
    assert found["parameters"]["limits"] == {"max_batch_rows": 100, "max_body_bytes": 300_000}


def test_metadata_of_a_table_names_a_tensor_a_column(kinds_http: httpx.Client) -> None:
    """Words travel as BYTES; a number with an origin needs more digits than float32 has."""
    found = kinds_http.get("/v2/models/table").json()
    assert found["inputs"] == [
        {"name": "age", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "seen", "datatype": "FP64", "shape": [-1, 1]},
        {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
    ]
    assert found["parameters"]["inputs"]["city"]["categories"] == ["Rome", "Oslo"]
    assert kinds_http.get("/v2/models/text").json()["parameters"]["inputs"]["text"]["max_length"] == 8


@pytest.mark.parametrize("path", ["/v2/models/tiny/ready", "/v2/models/tiny/versions/1/ready"])
def test_a_model_that_serves_is_ready(kinds_http: httpx.Client, path: str) -> None:
    """One that does not is a 404."""
    assert kinds_http.get(path).json() == {"name": "tiny", "ready": True}


def test_the_index_lists_every_version_and_why_one_is_refused(tmp_path: Path) -> None:
    """File, field, expected and found in one line; no path of the server."""
    artifacts.publish(tmp_path / "models")
    breaking.flip_bit(artifacts.publish(tmp_path / "models"))
    with serving(tmp_path / "models", tmp_path) as running, httpx.Client(base_url=running.url) as http:
        good, bad = http.post(v2.INDEX).json()
        assert good == {"name": "tiny", "version": "1", "state": "READY", "reason": ""}
        assert (bad["version"], bad["state"]) == ("2", "UNAVAILABLE")
        assert bad["reason"].startswith("model.onnx: sha256: expected ")
        assert str(tmp_path) not in bad["reason"]
        assert http.post(v2.INDEX, json={"ready": True}).json() == [good]
        assert http.get("/v2/models/tiny").json()["versions"] == ["1"]


@pytest.mark.parametrize("datatype", [name for name in binary.DTYPES if name != "INT8"])
@pytest.mark.parametrize("shape", [(-1, 4, 4), (-1, 16)])
@pytest.mark.parametrize("nested", [False, True])
def test_pixels_of_every_datatype_and_form_give_the_same(
    kinds_http: httpx.Client, kinds: Path, datatype: str, shape: tuple[int, ...], nested: bool
) -> None:
    """0..255 is whole in each of them; in JSON and as raw bytes, exactly what onnxruntime gives."""
    rows = artifacts.rows(3)
    pixels = np.array(rows).astype(binary.DTYPES[datatype]).reshape(shape)
    _, wanted = expected(kinds, "tiny", rows, artifacts.IMAGE)
    data = pixels.tolist() if nested else pixels.reshape(-1).tolist()
    outputs = infer(kinds_http, "tiny", tensor("image", datatype, list(pixels.shape), data))
    np.testing.assert_array_equal(probabilities(outputs), wanted)
    assert outputs["label"]["data"] == [LABELS[index] for index in wanted.argmax(axis=1)]
    raw = send_raw(kinds_http, "tiny", [("image", datatype, list(pixels.shape), pixels.tobytes())])
    np.testing.assert_array_equal(raw["probabilities"], wanted)


def send_raw(
    http: httpx.Client, model: str, given: list[tuple[str, str, list[int], bytes]], **members: Any
) -> dict[str, Any]:
    """Raw tensors there and back: outputs by name as arrays or lists of bytes."""
    entries = [
        {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(frame)}}
        for name, datatype, shape, frame in given
    ]
    document = json.dumps({"inputs": entries, "parameters": {"binary_data_output": True}} | members).encode()
    body = document + b"".join(frame for *_, frame in given)
    headers = {"Inference-Header-Content-Length": str(len(document))}
    response = http.post(f"/v2/models/{model}/infer", content=body, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/octet-stream"
    text, raw = binary.split(response.content, {name.lower(): value for name, value in response.headers.raw})
    frames = binary.Frames(raw)
    found: dict[str, Any] = {}
    for one in json.loads(text)["outputs"]:
        frame = frames.take(one["parameters"]["binary_data_size"], "")
        if one["datatype"] == "BYTES":
            found[one["name"]] = binary.strings(frame, int(np.prod(one["shape"])), "")
        else:
            dtype = np.dtype(bool) if one["datatype"] == "BOOL" else binary.DTYPES[one["datatype"]]
            found[one["name"]] = np.frombuffer(frame, dtype).reshape(one["shape"])
    frames.end()
    return found


def test_encoded_images_travel_as_bytes(kinds_http: httpx.Client, kinds: Path) -> None:
    """As base64 in JSON, as they are in a frame."""
    (row,) = artifacts.rows(1)
    file = io.BytesIO()
    Image.fromarray(np.array(row, dtype=np.uint8).reshape(artifacts.SHAPE)).save(file, "PNG")
    _, wanted = expected(kinds, "tiny", [row], artifacts.IMAGE)
    text = base64.b64encode(file.getvalue()).decode()
    for shape in ([1], [1, 1]):
        outputs = infer(kinds_http, "tiny", tensor("image", "BYTES", shape, [text]))
        np.testing.assert_array_equal(probabilities(outputs), wanted)
        raw = send_raw(kinds_http, "tiny", [("image", "BYTES", shape, binary.pack([file.getvalue()]))])
        np.testing.assert_array_equal(raw["probabilities"], wanted)


def test_a_table_is_one_tensor_a_column(kinds_http: httpx.Client, kinds: Path) -> None:
    """Words or their codes, null or NaN where a value is missing, all digits of a number with an origin."""
    instances = [{"age": 30, "seen": 1_650_000_123, "city": "Rome"}, {"age": None, "seen": None, "city": "Bern"}]
    _, wanted = expected(kinds, "table", instances, artifacts.TABLE)
    for shape in ([2], [2, 1]):
        numbers = [tensor("age", "FP32", shape, [30, None]), tensor("seen", "FP64", shape, [1_650_000_123, None])]
        for city in (tensor("city", "BYTES", shape, ["Rome", "Bern"]), tensor("city", "INT32", shape, [2, 0])):
            np.testing.assert_array_equal(probabilities(infer(kinds_http, "table", city, *numbers)), wanted)
    frames = [
        ("city", "BYTES", [2], binary.pack([b"Rome", b"Bern"])),
        ("seen", "FP64", [2], np.array([1_650_000_123, np.nan]).tobytes()),
        ("age", "FP16", [2, 1], np.array([30, np.nan], dtype=np.float16).tobytes()),
    ]
    np.testing.assert_array_equal(send_raw(kinds_http, "table", frames)["probabilities"], wanted)


def test_a_missing_word_is_null_or_code_1(kinds_http: httpx.Client, kinds: Path) -> None:
    """An empty word is a word."""
    _, wanted = expected(kinds, "table", [[1, None, None], [1, None, ""]], artifacts.TABLE)
    numbers = [tensor("age", "INT64", [2], [1, 1]), tensor("seen", "FP64", [2], [None, None])]
    for city in (tensor("city", "BYTES", [2], [None, ""]), tensor("city", "INT32", [2], [1, 0])):
        np.testing.assert_array_equal(probabilities(infer(kinds_http, "table", *numbers, city)), wanted)


def test_texts_travel_as_bytes_or_code_points(kinds_http: httpx.Client, kinds: Path) -> None:
    """UTF-8, and as zero padded code points for those who send what the graph takes."""
    texts = [*artifacts.TEXT_ROWS, "ban\0na"]
    _, wanted = expected(kinds, "text", texts, artifacts.TEXT)
    outputs = infer(kinds_http, "text", tensor("text", "BYTES", [5, 1], texts))
    np.testing.assert_array_equal(probabilities(outputs), wanted)
    frame = binary.pack(text.encode() for text in texts)
    np.testing.assert_array_equal(
        send_raw(kinds_http, "text", [("text", "BYTES", [5], frame)])["probabilities"], wanted
    )
    points = np.zeros((5, 30), dtype=np.int32)
    for row, text in zip(points, texts, strict=True):
        row[: len(text)] = [ord(character) for character in text]
    raw = send_raw(kinds_http, "text", [("text", "INT32", [5, 30], points.tobytes())])
    np.testing.assert_array_equal(raw["probabilities"], wanted)


def test_outputs_come_as_asked_and_in_that_order(kinds_http: httpx.Client, kinds: Path) -> None:
    """Without any, all of them."""
    rows = artifacts.rows(2)
    image = tensor("image", "FP32", [2, 16], np.concatenate(rows).tolist())
    assert list(infer(kinds_http, "tiny", image)) == OUTPUTS
    assert list(infer(kinds_http, "tiny", image, outputs=[])) == OUTPUTS
    wanted = [{"name": "label"}, {"name": "logits"}]
    outputs = infer(kinds_http, "tiny", image, outputs=wanted)
    logits, _ = expected(kinds, "tiny", rows, artifacts.IMAGE)
    assert list(outputs) == ["label", "logits"]
    np.testing.assert_array_equal(np.array(outputs["logits"]["data"], dtype=np.float32).reshape(2, 3), logits)


def test_one_answer_may_hold_raw_and_json_outputs(kinds_http: httpx.Client) -> None:
    """An output says for itself what `binary_data_output` says for the others."""
    (row,) = artifacts.rows(1)
    body = {
        "inputs": [tensor("image", "FP32", [1, 16], row)],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "label", "parameters": {"binary_data": False}}, {"name": "probabilities"}],
    }
    response = kinds_http.post("/v2/models/tiny/infer", json=body)
    length = int(response.headers["inference-header-content-length"])
    label, found = json.loads(response.content[:length])["outputs"]
    assert label["data"][0] in LABELS
    assert "data" not in found
    assert found["parameters"] == {"binary_data_size": 12}
    assert len(response.content) == length + 12


@pytest.mark.parametrize(("classes", "count"), [(1, 1), (2, 2), (3, 3), (2**63 - 1, 3)])
def test_classification_gives_value_index_and_label(
    kinds_http: httpx.Client, kinds: Path, classes: int, count: int
) -> None:
    """The best of each row, best first, of logits as of probabilities."""
    rows = artifacts.rows(2)
    _, wanted = expected(kinds, "tiny", rows, artifacts.IMAGE)
    asked = [{"name": "probabilities", "parameters": {"classification": classes}}]
    outputs = infer(kinds_http, "tiny", tensor("image", "FP32", [2, 16], np.concatenate(rows).tolist()), outputs=asked)
    found = outputs["probabilities"]
    assert (found["datatype"], found["shape"]) == ("BYTES", [2, count])
    best = np.argsort(-wanted, axis=1)[:, :count]
    for text, row, index in zip(found["data"], np.repeat([0, 1], count), best.reshape(-1), strict=True):
        value, position, label = text.split(":", 2)
        assert np.float32(value) == wanted[row, index]
        assert "e" not in value
        assert (int(position), label) == (int(index), LABELS[index])


def test_an_id_comes_back_as_it_was(kinds_http: httpx.Client) -> None:
    """Whatever quotes it has; without one it is the request id."""
    body = {"inputs": [tensor("image", "FP32", [1, 16], [0] * 16)]}
    for given in ('a "quoted" <id> ä', "x" * 256, "1"):
        answer = kinds_http.post("/v2/models/tiny/infer", json=body | {"id": given}).json()
        assert answer["id"] == given
    response = kinds_http.post("/v2/models/tiny/infer", json=body)
    assert response.json()["id"] == response.headers["x-request-id"]
    assert (response.json()["model_name"], response.json()["model_version"]) == ("tiny", "1")
    assert response.json()["parameters"] == {"provider": "cpu"}


def test_parameters_of_other_servers_are_passed_over(kinds_http: httpx.Client) -> None:
    """Stock clients send some on their own."""
    image = tensor("image", "FP32", [1, 16], [0] * 16) | {"parameters": {"content_type": "np"}}
    assert infer(kinds_http, "tiny", image, parameters={"priority": 1, "timeout": 10, "x": "y"})


def test_clipped_rows_are_flagged(kinds_http: httpx.Client) -> None:
    """As in V1, in an output of its own."""
    image = tensor("image", "FP32", [2, 16], [0.0] * 16 + [1e38] + [0.0] * 15)
    assert infer(kinds_http, "tiny", image)["out_of_range"]["data"] == [False, True]


def test_the_document_s_examples_work(kinds_http: httpx.Client) -> None:
    """Of every model, over V2."""
    document = kinds_http.get("/openapi.json").json()
    for path in ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"):
        examples = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert set(examples) == {"tiny", "table", "text"}
        for name, example in examples.items():
            response = kinds_http.post(path.format(name=name, version=1), json=example["value"])
            assert response.status_code == 200
            assert [one["name"] for one in response.json()["outputs"]] == ["probabilities", "label"]
