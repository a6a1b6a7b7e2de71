"""A file that takes memory, time or the process itself takes them from a process of its own, and is refused."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from clipmax.refusal import Refusal
from tests.training.adopt.graphs import LABELS, LINEAR, content, linear, model
from training.adopt.child import Examined, examine
from training.adopt.limits import Limits
from training.adopt.request import Request

GIB = 2**30


def examined(made: bytes, limits: Limits) -> Examined:
    """The whole way, through a process."""
    request = Request(
        labels=LABELS,
        risk=0.02,
        memory_bytes=limits.memory_bytes,
        cpu_seconds=limits.cpu_seconds,
        file_bytes=limits.file_bytes,
    )
    return examine(made, request, {}, limits=limits, where=Path("their.onnx"))


def endless() -> bytes:
    """Logits behind a loop that takes days."""
    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["sum", "one"], ["more"])],
        "body",
        [
            scalar("turn", TensorProto.INT64, []),
            scalar("go", TensorProto.BOOL, []),
            scalar("sum", TensorProto.FLOAT, []),
        ],
        [scalar("on", TensorProto.BOOL, []), scalar("more", TensorProto.FLOAT, [])],
    )
    nodes = [
        (*LINEAR[:2], ["z"]),
        ("Loop", ["turns", "", "zero"], ["total"], {"body": body}),
        ("Add", ["z", "total"], ["y"]),
    ]
    constants = {"turns": np.array(10**15), "zero": np.float32(0), "one": np.float32(1)}
    return content(model(*nodes, constants=constants))  # type: ignore[arg-type]


def huge() -> bytes:
    """Logits that need 40 GB for a moment, which are made when the file is loaded or run."""
    nodes = [
        (*LINEAR[:2], ["z"]),
        ("ConstantOfShape", ["size"], ["zeros"]),
        ("ReduceSum", ["zeros"], ["total"], {"keepdims": 0}),
        ("Add", ["z", "total"], ["y"]),
    ]
    return content(model(*nodes, constants={"size": np.array([10_000_000_000])}))  # type: ignore[arg-type]


def test_time_without_end_is_cut_off() -> None:
    """By the CPU's bound, and without CPU by that of the clock."""
    with pytest.raises(Refusal, match=r"their.onnx: limits: .*SIGXCPU|their.onnx: limits: .*SIGKILL"):
        examined(endless(), Limits(cpu_seconds=2))
    with pytest.raises(Refusal, match=r"checks that end within 0\.05 seconds"):
        examined(content(linear()), Limits(wall_seconds=0.05))


def test_memory_without_end_is_refused() -> None:
    """The allocation fails inside the process, which says so or ends."""
    with pytest.raises(Refusal, match=r"their.onnx"):
        examined(huge(), Limits(memory_bytes=3 * GIB))


def test_a_refusal_comes_back_with_its_four_parts() -> None:
    """And the file's name."""
    with pytest.raises(Refusal) as caught:
        examined(b"no model", Limits())
    found = caught.value
    assert (found.where, found.field, found.expected, found.found) == (
        "their.onnx",
        "document",
        "an ONNX model",
        "other bytes",
    )


def test_the_process_sees_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its environment is not ours, and nothing of it stays behind."""
    monkeypatch.setenv("CLIPMAX_API_KEYS_FILE", "/secret")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    real, seen = subprocess.Popen, []

    class Watched(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: object, **settings: object) -> None:
            seen.append(json.dumps(settings["env"]))
            real.__init__(self, *arguments, **settings)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", Watched)
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert examined(content(linear()), Limits()).graph
    assert len(seen) == 1
    assert "secret" not in seen[0]
    assert list(tmp_path.iterdir()) == []
