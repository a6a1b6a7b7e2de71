"""Tensors of a request → tensors of the graph."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clipmax.inputs import CategoryInput, ImageInput, Input, NumberInput, TextInput
from clipmax.problems import Problem
from service.reading import binary, tensors

IMAGE = ImageInput(name="image", shape=(2, 3))
NUMBER = NumberInput(name="age", minimum=0, maximum=1)
TIME = NumberInput(name="time", minimum=1.6e9, maximum=1.7e9, origin=1.65e9)
CITY = CategoryInput(name="city", categories=("Rome", "Oslo"))
TEXT = TextInput(name="text", max_length=4)


def read(schema: Input, datatype: str, shape: list[Any], data: Any) -> npt.NDArray[Any]:
    """Through the checks of a request."""
    checked = tensors.check_datatype(schema, datatype, "/inputs/0")
    sizes = tensors.check_shape(schema, checked, shape, max_rows=100, pointer="/inputs/0")
    return tensors.tensor(schema, tensors.Given(checked, sizes, data, "/inputs/0"))


@given(arrays.arrays(np.float32, (3, 2, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_flat_nested_and_raw_pixels_are_the_same(values: npt.NDArray[np.float32]) -> None:
    """Every bit of them; -0.0 too."""
    forms = [
        read(IMAGE, "FP32", [3, 2, 3], values.reshape(-1).tolist()),
        read(IMAGE, "FP32", [3, 2, 3], values.tolist()),
        read(IMAGE, "FP32", [3, 6], values.reshape(3, 6).tolist()),
        read(IMAGE, "FP32", [3, 6], memoryview(values.tobytes())),
        read(IMAGE, "FP64", [3, 6], memoryview(values.astype(np.float64).tobytes())),
    ]
    for found in forms:
        assert found.shape == (3, 2, 3)
        assert found.dtype == np.float32
        assert found.tobytes() == values.tobytes()


@given(st.integers(0, 7))
def test_raw_pixels_at_any_offset_are_aligned_for_the_graph(offset: int) -> None:
    """The JSON part before them has any length."""
    values = np.arange(6, dtype=np.float32)
    frame = memoryview(b"x" * offset + values.tobytes())[offset:]
    found = read(IMAGE, "FP32", [1, 6], frame)
    assert found.flags.aligned
    np.testing.assert_array_equal(found.reshape(-1), values)


def test_a_number_with_an_origin_keeps_its_digits() -> None:
    """It is subtracted in float64."""
    found = read(TIME, "FP64", [2], [1_650_000_001.5, None])
    np.testing.assert_array_equal(found, np.array([[1.5], [np.nan]], dtype=np.float32))
    np.testing.assert_array_equal(read(TIME, "INT64", [1, 1], [1_650_000_001]), [[1.0]])
    assert tensors.datatypes(TIME)[0] == "FP64"
    assert tensors.datatypes(NUMBER)[0] == "FP32"


def test_columns_without_any_value_pass() -> None:
    """All of them missing."""
    raw = memoryview(np.array([np.nan, np.nan], dtype=np.float32).tobytes())
    for data in ([None, None], raw):
        assert np.isnan(read(NUMBER, "FP32", [2], data)).all()


def test_code_points_are_cut_where_texts_are() -> None:
    """One more than the graph reads, so that the cut can be seen."""
    points = [[97, 98, 99, 100, 101, 102], [97, 0, 0, 0, 0, 0]]
    found = read(TEXT, "INT32", [2, 6], points)
    np.testing.assert_array_equal(found, read(TEXT, "BYTES", [2], ["abcdef", "a"]))
    assert TEXT.truncated(found).tolist() == [True, False]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@given(
    st.sampled_from([IMAGE, NUMBER, TIME, CITY, TEXT]),
    st.sampled_from([*binary.DTYPES, "BYTES", "BOOL"]),
    st.lists(st.integers(-1, 7), max_size=4) | JSON_VALUES,
    st.lists(JSON_VALUES, max_size=12) | st.binary(max_size=80).map(lambda data: memoryview(data)[:]),
)
def test_anything_is_a_tensor_of_the_graph_or_a_problem(schema: Input, datatype: str, shape: Any, data: Any) -> None:
    """Nothing else is raised, and what comes out has the graph's dtype and as many rows as were said."""
    found = None
    with contextlib.suppress(Problem):
        found = read(schema, datatype, shape, data)
    if found is not None:
        assert found.dtype == np.dtype(schema.dtype)
        assert len(found) == shape[0]
        assert found.flags.c_contiguous


@pytest.mark.parametrize("size", [0, -1, 2**63, 1.0, True, "1", None])
def test_a_dimension_is_a_whole_number_from_1(size: object) -> None:
    """Of rows as of values."""
    for shape in ([size, 6], [1, size]):
        with pytest.raises(Problem, match="SHAPE_INVALID"):
            tensors.check_shape(IMAGE, "FP32", shape, max_rows=100, pointer="")


def test_a_required_number_is_never_missing() -> None:
    """Neither as null in JSON nor as NaN in a frame."""
    required = NumberInput(name="age", minimum=0, maximum=1, required=True)
    raw = memoryview(np.array([np.nan, 1], dtype=np.float32).tobytes())
    for data, code in (([None, 1.0], "TYPE"), (raw, "NON_FINITE")):
        with pytest.raises(Problem) as caught:
            read(required, "FP32", [2], data)
        assert caught.value.kind.code == code
