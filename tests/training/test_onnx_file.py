"""A graph that is written weight by weight, against what `onnx` reads of it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from training import answers, onnx_file
from training.onnx_file import Graph


class _Wide(nn.Module):
    """Two large weights and two small ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 5000), nn.Linear(5000, 60)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(torch.tanh(self.first(rows)))
        return found


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return _Wide().eval()


@pytest.fixture(scope="module")
def graph(module: nn.Module) -> Graph:
    free = ({0: torch.export.Dim("batch", min=1)},)
    return onnx_file.export(module, (torch.zeros(2, 64),), inputs=["rows"], outputs=["found"], free_axes=free)


def test_every_weight_is_read_as_it_was(graph: Graph, module: nn.Module) -> None:
    """By its name, bit for bit, inside the one file."""
    read = {each.name: each for each in onnx.load_from_string(graph.content()).graph.initializer}
    assert len(graph.weights) == 2
    for name, value in module.state_dict().items():
        assert read[name].data_location == onnx.TensorProto.DEFAULT
        assert np.array_equal(numpy_helper.to_array(read[name]), value.numpy())


def test_the_file_is_valid_and_answers_as_torch_does(graph: Graph, module: nn.Module, tmp_path: Path) -> None:
    """By its path and by its bytes."""
    path = tmp_path / "model.onnx"
    graph.write(path)
    assert path.read_bytes() == graph.content()
    onnx_file.check(path)
    rows = torch.randn(3, 64)
    expected = module(rows).detach().numpy()
    for given in (path, path.read_bytes()):
        (found,) = answers.session(given).run(["found"], {"rows": rows.numpy()})
        assert np.abs(found - expected).max() < 1e-5


def test_writing_copies_no_large_weight(graph: Graph, tmp_path: Path) -> None:
    """Two of 1.2 MB each; a tenth of one is left for all the rest."""
    tracemalloc.start()
    graph.write(tmp_path / "model.onnx")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 120_000


@pytest.mark.parametrize(("number", "content"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")])
def test_numbers_are_written_as_protobuf_says(number: int, content: bytes) -> None:
    """The examples of its documentation, and both sides of one byte."""
    assert onnx_file._varint(number) == content
