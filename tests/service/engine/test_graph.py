"""Weights in a file beside the graph: only in that one, from the version's own folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.external_data_helper import set_external_data

from clipmax import inputs, manifest
from clipmax.manifest import DATA_FILE
from clipmax.refusal import Refusal
from service.engine.providers import Execution
from service.engine.session import Session
from service.outputs import Full
from tests import artifacts
from tests.service.engine.breaking import rewrite, rewrite_model


def move_weight(folder: Path, *, location: str = DATA_FILE, is_listed: bool = True, **place: Any) -> None:
    """Put the weight of the graph into `model.onnx.data`, and let the manifest vouch for it."""
    content = b""

    def change(model: onnx.ModelProto) -> None:
        nonlocal content
        weight = next(one for one in model.graph.initializer if one.name == "weight")
        content = weight.raw_data
        set_external_data(weight, location, **{"offset": 0, "length": len(content), **place})
        weight.ClearField("raw_data")

    rewrite_model(folder, change)
    (folder / DATA_FILE).write_bytes(content)
    if is_listed:
        rewrite(folder, lambda document: document["files"].update({DATA_FILE: {}}))


def load(folder: Path) -> Session:
    return Session.load(folder, manifest.load(folder), Execution())


def test_weights_in_their_own_file_give_the_same_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the version's folder, whatever the working directory is and holds."""
    folder = artifacts.publish(tmp_path)
    found = manifest.load(folder)
    tensors = inputs.tensors(found.inputs, artifacts.rows(2, seed=5))
    expected = load(folder).run(tensors)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / DATA_FILE).write_bytes(b"\0" * 192)
    monkeypatch.chdir(elsewhere)
    move_weight(folder)
    outputs = load(folder).run(tensors)
    assert isinstance(outputs, Full)
    assert isinstance(expected, Full)
    assert np.array_equal(outputs.probabilities, expected.probabilities)


@pytest.mark.parametrize(
    "location", ["weights.bin", "../model.onnx.data", "./model.onnx.data", "/etc/passwd", "", "model.onnx.data/"]
)
def test_any_other_place_is_refused(tmp_path: Path, location: str) -> None:
    """Also the same file by another name."""
    folder = artifacts.publish(tmp_path)
    move_weight(folder, location=location)
    with pytest.raises(Refusal, match=r"external data in model\.onnx\.data, found another place"):
        load(folder)


def test_weights_that_the_manifest_does_not_list_are_refused(tmp_path: Path) -> None:
    """They would have no hash."""
    folder = artifacts.publish(tmp_path)
    move_weight(folder, is_listed=False)
    with pytest.raises(Refusal, match="all weights inside the file"):
        load(folder)


@pytest.mark.parametrize(
    ("place", "field"),
    [({"offset": 4}, "initializers"), ({"length": 193}, "initializers"), ({"offset": -1}, "document")],
)
def test_a_place_outside_the_file_is_refused(tmp_path: Path, place: dict[str, Any], field: str) -> None:
    """Before onnxruntime sees it."""
    folder = artifacts.publish(tmp_path)
    move_weight(folder, **place)
    with pytest.raises(Refusal) as refusal:
        load(folder)
    assert refusal.value.field == field


@pytest.mark.parametrize("change", [lambda content: content[:-1] + b"\1", lambda content: content[:-1]])
def test_changed_weights_are_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """By their hash or their size."""
    folder = artifacts.publish(tmp_path)
    move_weight(folder)
    path = folder / DATA_FILE
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(Refusal, match=r"model.onnx.data: (sha256|size)"):
        load(folder)
