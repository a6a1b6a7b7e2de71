"""The command `clipmax import`: a file of another tool is published, verified and served, and answers as that tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from clipmax import manifest as manifests
from clipmax.repository import Repository
from tests.service.running import command, serving
from tests.training.adopt import frameworks
from tests.training.adopt.frameworks import FLOWER_COLUMNS, FLOWERS, Array, write_flowers
from tests.training.adopt.graphs import content, linear


def write(folder: Path, made: bytes, labels: tuple[str, ...]) -> list[str]:
    """The file and its labels; returns the beginning of the command that imports it."""
    (folder / "their.onnx").write_bytes(made)
    (folder / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    flags = ["--labels", str(folder / "labels.txt"), "--models", str(folder / "models")]
    return ["import", str(folder / "their.onnx"), *flags]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with flowers of scikit-learn, with data, and digits of Keras, without; not to be changed."""
    folder = tmp_path_factory.mktemp("imported")
    foreign = frameworks.logistic_regression()
    data = write_flowers(folder / "flowers.csv")
    flowers = [*write(folder, foreign.content, foreign.labels), "--name", "flowers", "--label", "kind"]
    result = command(*flowers, "--validation", str(data), "--test", str(data))
    assert result.returncode == 0, result.stderr
    digits = frameworks.keras_digits()
    result = command(*write(folder, digits.content, digits.labels), "--name", "digits", "--pixels=0..1")
    assert result.returncode == 0, result.stderr
    assert "accuracy and calibration were not measured" in result.stdout
    return folder / "models"


def test_an_imported_version_is_verified_and_described(models: Path) -> None:
    """As the service would; with where it comes from, and what was not measured."""
    assert command("verify", str(models)).returncode == 0
    described = command("inspect", str(models / "digits" / "1")).stdout
    assert "not measured" in described
    assert "logits, from its output" in described
    flowers = manifests.load(models / "flowers" / "1")
    assert flowers.imported
    assert (flowers.imported.scores, flowers.imported.file) == ("probabilities", "their.onnx")
    assert flowers.imported.rows == {"validation": 150, "test": 150}
    assert (flowers.data, flowers.training) == (None, None)
    assert flowers.metrics
    assert flowers.metrics.rows == 150
    assert tuple(schema.name for schema in flowers.inputs) == FLOWER_COLUMNS


def test_served_answers_are_those_of_the_tools(models: Path, tmp_path: Path) -> None:
    """Over a real socket: Keras' probabilities within 1e-5, and scikit-learn's at the temperature; gaps are refused."""
    digits, flowers = frameworks.keras_digits(), frameworks.logistic_regression()
    temperature = manifests.load(models / "flowers" / "1").temperature
    with serving(models, tmp_path) as running, httpx.Client(base_url=running.url, timeout=30) as http:
        found = ask(http, "digits", digits.rows.reshape(-1, 64).tolist())
        np.testing.assert_allclose(found, digits.probabilities, atol=1e-5)
        rows = [dict(zip(FLOWER_COLUMNS, row, strict=True)) for row in flowers.rows.astype(float).tolist()]
        tempered = flowers.probabilities ** (1 / temperature)
        expected = tempered / tempered.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(ask(http, "flowers", rows), expected, atol=1e-5)
        for gap in ({**rows[0], FLOWER_COLUMNS[0]: None}, {FLOWER_COLUMNS[0]: 1.0}):
            answer = http.post("/v1/models/flowers:predict", json={"instances": [gap]})
            assert answer.status_code == 422
        answer = http.post("/v1/models/flowers:predict", json={"instances": rows[:1], "parameters": {"coverage": 0.9}})
        assert "prediction_set" in answer.json()["predictions"][0]


def ask(http: httpx.Client, name: str, instances: list[Any]) -> Array:
    """The probabilities of each instance in the labels' order."""
    body = {"instances": instances, "parameters": {"probabilities": True}}
    answer = http.post(
        f"/v1/models/{name}:predict", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    return np.array([list(one["probabilities"].values()) for one in answer.json()["predictions"]])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--name", "../up"], "--name: name: expected"),
        (["--name", "x", "--validation", "no.csv", "--label", "kind"], "no.csv: file: expected a readable file"),
        (["--name", "x", "--columns", "no.txt"], "no.txt: file"),
    ],
)
def test_what_is_refused_publishes_nothing(flags: list[str], message: str, tmp_path: Path) -> None:
    """Exit code 1, one line that says why, and no version."""
    result = command(*write(tmp_path, content(linear()), FLOWERS), *flags)
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert Repository(tmp_path / "models").names() == []


def test_bad_labels_are_refused(tmp_path: Path) -> None:
    """One of them twice."""
    result = command(*write(tmp_path, content(linear()), ("a", "a", "b")), "--name", "x")
    assert result.returncode == 1
    assert "labels.txt: labels: expected" in result.stderr
