"""What a stranger's file must not hold is refused by name; what an artifact does not need is taken off."""

from __future__ import annotations

from contextlib import suppress

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from clipmax.refusal import Refusal
from tests.training.adopt import graphs
from tests.training.adopt.graphs import LINEAR, content, linear, model
from training.adopt import source


def test_external_data_is_refused_wherever_it_hides() -> None:
    """In a weight, or in an attribute: a path inside a file is the file's choice."""
    made = linear()
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    made.graph.initializer[0].external_data.add(key="location", value="../../secret")
    with pytest.raises(Refusal, match="all of them inside the file, found external data"):
        source.read(content(made))
    tensor = TensorProto(name="t", data_type=1, dims=[4, 3], data_location=TensorProto.EXTERNAL)
    hidden = model(("Constant", [], ["c"], {"value": tensor}), ("MatMul", ["x", "c"], ["y"]))
    with pytest.raises(Refusal, match="external data"):
        source.read(content(hidden))


@pytest.mark.parametrize("domain", ["com.microsoft", "my.company", "ai.onnx.training"])
def test_foreign_operators_are_refused(domain: str) -> None:
    """By the name of their domain."""
    made = model((*LINEAR[:2], ["z"]), ("Gelu", ["z"], ["y"], {"domain": domain}), domains={domain: 1})
    with pytest.raises(Refusal, match=f"operators: expected standard ONNX, found '{domain}'"):
        source.read(content(made))


def test_an_operator_set_that_nothing_uses_is_forgotten() -> None:
    """Some converters name com.microsoft in every file."""
    found = source.read(content(linear(domains={"com.microsoft": 1})))
    assert [one.domain for one in found.model.opset_import] == [""]


def test_local_functions_are_written_out() -> None:
    """As operators; a foreign one inside them is still foreign."""
    made = model((*LINEAR[:2], ["z"]), ("Twice", ["z"], ["y"], {"domain": "local"}), domains={"local": 1})
    body = helper.make_node("Add", ["a", "a"], ["b"])
    made.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], [body], [helper.make_opsetid("", 17)]))
    found = source.read(content(made))
    assert [node.op_type for node in found.model.graph.node] == ["MatMul", "Add"]
    assert found.changes == ("local functions were written out",)


def test_a_fixed_batch_axis_is_made_free_and_said() -> None:
    """A free one stays as it is."""
    fixed = source.read(content(linear(shape=(1, 4), outputs={"y": (1, 3)})))
    assert fixed.fixed_rows == 1
    assert fixed.changes == ("the batch axis, fixed at 1, was made free",)
    assert fixed.inputs[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert source.read(content(linear())).fixed_rows is None


def test_weights_that_are_inputs_too_are_no_data() -> None:
    """As old converters write them."""
    made = linear()
    made.graph.input.append(helper.make_tensor_value_info("weight", TensorProto.FLOAT, [4, 3]))
    assert [value.name for value in source.read(content(made)).inputs] == ["x"]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (model(("MatMul", ["x", "nothing"], ["y"])), "a valid ONNX graph"),
        (onnx.ModelProto(), "operators, found none"),
        (linear(shape=()), "rows along the first axis"),
        (linear(domains={"": 8}), "opset: expected at least 9, found 8"),
    ],
)
def test_what_is_no_usable_graph_is_refused(made: onnx.ModelProto, message: str) -> None:
    """With the reason."""
    with pytest.raises(Refusal, match=message):
        source.read(content(made))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_are_refused_or_read(data: st.DataObject) -> None:
    """Nothing else happens, whatever single byte is another."""
    whole = bytearray(content(graphs.linear()))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Refusal):
        source.read(bytes(whole))
