"""A version's folder → a session, or a refusal with file, field, expected and found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from clipmax import manifest as manifests
from clipmax.refusal import Refusal
from service.engine.providers import Execution, Policy, check_available
from service.engine.session import Session
from service.outputs import Full
from tests import artifacts
from tests.service.engine.breaking import rewrite, rewrite_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version that may be broken."""
    return artifacts.publish(tmp_path)


def load(folder: Path, execution: Execution | None = None) -> Session:
    return Session.load(folder, manifests.load(folder), execution or Execution())


def test_a_session_gives_onnxruntime_s_own_numbers(folder: Path) -> None:
    """Bit for bit."""
    session = load(folder)
    rows = artifacts.rows(7, seed=3)
    logits, probabilities = artifacts.run((folder / "model.onnx").read_bytes(), rows)
    outputs = session.run({"image": np.array(rows, dtype=np.float32).reshape(-1, *artifacts.SHAPE)})
    assert isinstance(outputs, Full)
    np.testing.assert_array_equal(outputs.logits, logits)
    np.testing.assert_array_equal(outputs.probabilities, probabilities)
    assert session.provider == "cpu"
    assert not session.degraded


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_required_provider_that_is_not_there_is_refused(folder: Path, provider: Any) -> None:
    """Onnxruntime itself would run on the CPU without a word."""
    if len(onnxruntime.get_available_providers()) > 2:
        pytest.skip("this build of onnxruntime has it")
    for attempt in (lambda: load(folder, Execution(provider=provider)), lambda: check_available(Execution(provider))):
        with pytest.raises(Refusal, match=f"CLIPMAX_PROVIDER: expected {provider}"):
            attempt()


@pytest.mark.parametrize("policy", ["prefer", "require"])
def test_a_preferred_provider_that_is_not_there_degrades(folder: Path, policy: Policy) -> None:
    """The CPU answers and the session says so; what was asked for and got is not degraded."""
    wanted = "cuda" if policy == "prefer" else "cpu"
    session = load(folder, Execution(provider=wanted, policy=policy))  # type: ignore[arg-type]  # one of the literals
    assert session.degraded is (wanted != session.provider)


def set_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def set_external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[2]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"


def set_function(model: onnx.ModelProto) -> None:
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(
        helper.make_function("own", "f", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], opsets)
    )


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "picture"
    model.graph.node[0].input[0] = "picture"


def fix_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3


def set_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    model.graph.node.insert(0, helper.make_node("Cast", ["image"], ["narrow"], to=TensorProto.FLOAT))
    model.graph.node[1].input[0] = "narrow"


def drop_output(model: onnx.ModelProto) -> None:
    del model.graph.output[0]


def other_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].CopyFrom(artifacts.model(99).graph.initializer[2])


def not_a_number(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[2]
    tensor.raw_data = b"\x00\x00\xc0\x7f" + tensor.raw_data[4:]


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[-1].op_type = "Hardmean"


MODELS: list[tuple[Callable[[onnx.ModelProto], None], str]] = [
    (set_domain, "opset_import"),
    (set_external, "initializers"),
    (set_function, "functions"),
    (rename_input, "inputs"),
    (fix_batch, "inputs.image.shape"),
    (set_type, "inputs.image.type"),
    (drop_output, "outputs"),
    (other_weights, "golden[0]"),
    (not_a_number, "golden"),
    (unknown_operator, "graph"),
]


@pytest.mark.parametrize(("change", "field"), MODELS, ids=[change.__name__ for change, _ in MODELS])
def test_a_graph_that_is_not_what_the_manifest_says_is_refused(
    folder: Path, change: Callable[[onnx.ModelProto], None], field: str
) -> None:
    """Even when every hash fits, because the version was published like that."""
    rewrite_model(folder, change)
    with pytest.raises(Refusal) as refusal:
        load(folder)
    assert Path(refusal.value.where).name == "model.onnx"
    assert refusal.value.field.startswith(field), str(refusal.value)
    assert refusal.value.expected
    assert refusal.value.found


def test_more_labels_than_outputs_are_refused(folder: Path) -> None:
    """A sealed manifest with another number of labels meets the graph's own width."""

    def change(document: dict[str, Any]) -> None:
        document["labels"].append("one more")
        for example in document["golden"]:
            example["probabilities"].append(0.0)

    rewrite(folder, change)
    with pytest.raises(Refusal, match=r"outputs.logits.shape: expected \[N, 4\]"):
        load(folder)


def test_a_golden_instance_that_does_not_fit_is_refused(folder: Path) -> None:
    """It says which one."""

    def change(document: dict[str, Any]) -> None:
        document["golden"][1]["instance"] = [1, 2, 3]

    rewrite(folder, change)
    with pytest.raises(Refusal, match="golden/1"):
        load(folder)


def test_golden_probabilities_that_do_not_sum_to_one_are_refused(folder: Path) -> None:
    """A graph whose softmax is missing its division agrees with itself, not with the contract."""

    def double(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "half"
        model.graph.node.append(helper.make_node("Mul", ["half", "half"], ["probabilities"]))

    rewrite_model(folder, double)
    content = (folder / "model.onnx").read_bytes()

    def change(document: dict[str, Any]) -> None:
        _, found = artifacts.run(content, [example["instance"] for example in document["golden"]])
        for example, row in zip(document["golden"], found.astype(float).tolist(), strict=True):
            example["probabilities"] = row

    rewrite(folder, change)
    with pytest.raises(Refusal, match="golden sums"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 100, b"\xff" * 100, b"\x3a\xff\xff\xff\xff\x0f"])
def test_bytes_that_are_no_model_are_refused(folder: Path, content: bytes) -> None:
    """Also when the manifest vouches for them."""
    (folder / "model.onnx").write_bytes(content)
    rewrite(folder, lambda _: None)
    with pytest.raises(Refusal, match=r"model\.onnx"):
        load(folder)


def test_the_manifest_of_a_session_is_the_one_on_disk(folder: Path) -> None:
    """Labels come from nowhere else."""
    document = json.loads((folder / "manifest.json").read_bytes())
    assert list(load(folder).manifest.labels) == document["labels"]
