"""Weights out of an exported graph: by name, also those that the exporter has merged or left out."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from clipmax.refusal import Refusal
from training import weights
from training.loop import Progress
from training.model import Calibrated
from training.weights import Weights

GRAPH = Path("model.onnx")


def test_every_weight_comes_back_bit_for_bit(calibrated: Calibrated, graph: bytes) -> None:
    """Under its name in the module."""
    found = Weights.read(graph, where=GRAPH)
    for name, value in calibrated.classifier.state_dict().items():
        assert torch.equal(found.take(name, value.shape), value), name


def test_a_weight_that_is_no_initializer_is_noted() -> None:
    """As when two biases are equal and the exporter keeps one."""
    layer = nn.Linear(3, 2)
    initializer = onnx.numpy_helper.from_array(layer.weight.detach().numpy(), "classifier.weight")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "graph", [], [], [initializer]))
    weights.note_lost(model, layer)
    assert [entry.key for entry in model.metadata_props] == ["clipmax.weight.bias"]
    copy = nn.Linear(3, 2)
    Weights.read(model.SerializeToString(), where=GRAPH).fill(copy)
    assert torch.equal(copy.weight, layer.weight)
    assert torch.equal(copy.bias, layer.bias)


def test_equal_biases_survive_the_export(trained: tuple[object, object, Progress], graph: bytes) -> None:
    """The notes are part of the graph's file, and name none that the graph has by itself."""
    model = onnx.load_from_string(graph)
    named = {initializer.name for initializer in model.graph.initializer}
    noted = {entry.key.replace("clipmax.weight.", "classifier.") for entry in model.metadata_props}
    assert not named & noted


def test_a_missing_weight_is_named() -> None:
    """With the file; so is one of another shape."""
    empty = Weights(GRAPH, {"mlp.0.bias": torch.zeros(2)})
    with pytest.raises(Refusal, match=r"model\.onnx: mlp\.0\.weight: expected an initializer of this name"):
        empty.take("mlp.0.weight")
    with pytest.raises(Refusal, match=r"mlp\.0\.bias: expected shape \[3\], found \[2\]"):
        empty.take("mlp.0.bias", torch.Size([3]))
