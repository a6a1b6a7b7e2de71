"""Instances → tensors: every way to send the same pixels gives the same tensor, all else a problem with its place."""

from __future__ import annotations

import base64
import io
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pydantic import ValidationError

from clipmax.inputs import CategoryInput, ImageInput, NumberInput, tensors, word
from clipmax.problems import Problem

GRAY = ImageInput(name="image", shape=(2, 3))
RGB = ImageInput(name="image", shape=(2, 3, 3))
PIXELS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(2), st.just(3)))


def png(pixels: npt.NDArray[np.uint8]) -> dict[str, str]:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return {"b64": base64.b64encode(stream.getvalue()).decode()}


def problem(instances: list[Any], schema: ImageInput = GRAY) -> tuple[str, str]:
    """Code and pointer of what the instances meet."""
    with pytest.raises(Problem) as caught:
        tensors([schema], instances)
    return caught.value.kind.code, caught.value.pointer


@given(pixels=PIXELS)
def test_every_way_to_send_pixels_gives_the_same_tensor(pixels: npt.NDArray[np.uint8]) -> None:
    """Nested, flat, as PNG, and each of them under the input's name."""
    expected = pixels.astype(np.float32)
    for one_row in (np.ndarray.tolist, lambda row: row.reshape(-1).tolist(), png):
        rows = [one_row(row) for row in pixels]
        for instances in (rows, [{"image": row} for row in rows]):
            tensor = tensors([GRAY], instances)["image"]
            assert tensor.dtype == np.float32
            np.testing.assert_array_equal(tensor, expected)


def test_a_color_image_keeps_its_channels_last() -> None:
    """As in PNG, and as the graph wants them."""
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    for instance in (pixels.tolist(), pixels.reshape(-1).tolist(), png(pixels)):
        np.testing.assert_array_equal(tensors([RGB], [instance])["image"], pixels[np.newaxis])


@given(value=st.floats(-3e38, 3e38))
def test_numbers_become_the_nearest_float32(value: float) -> None:
    """No other rounding stands between the client and the graph."""
    tensor = tensors([GRAY], [[value] * 6])["image"]
    assert tensor[0, 0, 0] == np.float32(value)


@given(tensor=arrays.arrays(np.float32, (4, 2, 3), elements=st.floats(-500, 500, width=32)))
def test_out_of_range_says_which_rows_the_graph_will_clip(tensor: npt.NDArray[np.float32]) -> None:
    """A row is marked when any of its values is."""
    clipped = (np.clip(tensor, 0, 255) != tensor).any(axis=(1, 2))
    np.testing.assert_array_equal(GRAY.out_of_range(tensor), clipped)


FLAT = [0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("instances", "code", "pointer"),
    [
        pytest.param([], "EMPTY_BATCH", "/instances", id="no rows"),
        pytest.param([FLAT, 1], "TYPE", "/instances/1", id="a number for a row"),
        pytest.param([FLAT, None], "TYPE", "/instances/1", id="null for a row"),
        pytest.param(["012345"], "TYPE", "/instances/0", id="a string for a row"),
        pytest.param([[]], "INPUT_SHAPE", "/instances/0", id="an empty row"),
        pytest.param([FLAT, FLAT[1:]], "INPUT_SHAPE", "/instances/1", id="too short"),
        pytest.param([[*FLAT, 0]], "INPUT_SHAPE", "/instances/0", id="too long"),
        pytest.param([[[0, 0, 0]]], "INPUT_SHAPE", "/instances/0", id="too few lines"),
        pytest.param([[[0, 0, 0], [0, 0]]], "INPUT_SHAPE", "/instances/0/1", id="ragged"),
        pytest.param([[[0, 0, 0], 0]], "INPUT_SHAPE", "/instances/0/1", id="half nested"),
        pytest.param([[[[0], 0, 0], [0, 0, 0]]], "INPUT_SHAPE", "/instances/0/0/0", id="too deep"),
        pytest.param([[[[[0, 0, 0]]]]], "INPUT_SHAPE", "/instances/0", id="much too deep"),
        pytest.param([[0, 0, 0, 0, 0, None]], "TYPE", "/instances/0/5", id="null"),
        pytest.param([[0, 0, 0, 0, 0, True]], "TYPE", "/instances/0/5", id="a boolean"),
        pytest.param([[0, 0, 0, 0, 0, "1.5"]], "TYPE", "/instances/0/5", id="a string"),
        pytest.param([[0, 0, 0, 0, 0, {}]], "TYPE", "/instances/0/5", id="an object"),
        pytest.param([[0, 0, 0, 0, 0, 1e39]], "NUMBER_RANGE", "/instances/0/5", id="too large for float32"),
        pytest.param([[0, 0, 0, 0, 0, -1e39]], "NUMBER_RANGE", "/instances/0/5", id="too small"),
        pytest.param([[0, 0, 0, 0, 0, 10**5000]], "NUMBER_RANGE", "/instances/0/5", id="5,000 digits"),
        pytest.param([[0, 0, 0, 0, 0, float("inf")]], "NUMBER_RANGE", "/instances/0/5", id="infinite"),
        pytest.param([[0, 0, 0, 0, 0, float("nan")]], "NUMBER_RANGE", "/instances/0/5", id="NaN"),
        pytest.param([{"image": FLAT, "mask": FLAT}], "UNKNOWN_FIELD", "/instances/0", id="one input too many"),
        pytest.param([{"image": [0]}], "INPUT_SHAPE", "/instances/0/image", id="named and too short"),
        pytest.param([{"picture": FLAT}], "TYPE", "/instances/0", id="another name"),
        pytest.param([{}], "TYPE", "/instances/0", id="an empty object"),
        pytest.param([{"b64": 1}], "TYPE", "/instances/0/b64", id="b64 of a number"),
        pytest.param([{"b64": "%%%"}], "IMAGE_INVALID", "/instances/0/b64", id="not base64"),
        pytest.param([{"b64": "é"}], "IMAGE_INVALID", "/instances/0/b64", id="not ASCII"),
        pytest.param([{"b64": "AAAA"}], "IMAGE_INVALID", "/instances/0/b64", id="not an image"),
        pytest.param([{"b64": "", "id": 1}], "TYPE", "/instances/0", id="more than b64"),
    ],
)
def test_what_the_model_cannot_take_is_a_problem_with_its_place(instances: list[Any], code: str, pointer: str) -> None:
    """The pointer names the row, and the value where it is one value's fault."""
    assert problem(instances) == (code, pointer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=7) | st.dictionaries(st.sampled_from(["image", "b64", "x"]), inner, max_size=2)
    ),
    max_leaves=20,
)


@given(instances=st.lists(JSON, max_size=3), schema=st.sampled_from([GRAY, RGB]))
def test_any_json_gives_a_finite_tensor_or_a_problem(instances: list[Any], schema: ImageInput) -> None:
    """Never another exception, so never a 500; and the problem's place exists in the request."""
    try:
        tensor = tensors([schema], instances)["image"]
    except Problem as found:
        assert json.dumps(resolve({"instances": instances}, found.pointer)) is not None  # noqa: PT017  # or this
    else:
        assert tensor.shape == (len(instances), *schema.shape)
        assert np.isfinite(tensor).all()


def resolve(document: Any, pointer: str) -> Any:
    """The value at a JSON pointer; fails where there is none."""
    for part in pointer.split("/")[1:]:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 1), (2, 3, 4), (0, 3), (2, -1), (1, 2, 3, 3)])
def test_a_shape_that_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    """Height and width, with 3 channels or none."""
    with pytest.raises(ValidationError):
        ImageInput(name="image", shape=shape)


def test_an_origin_keeps_the_digits_that_float32_would_lose() -> None:
    """It is taken off in float64; null stays missing, and nothing overflows at the end of float32."""
    schema = NumberInput(name="t", minimum=1.7e9, maximum=1.7e9 + 99, origin=1.7e9)
    tensor = tensors([schema], [1.7e9 + 1, 1.7e9 + 2, None, -3.4e38])["t"]
    assert tensor[:2, 0].tolist() == [1.0, 2.0]
    assert np.isnan(tensor[2, 0])
    assert np.isfinite(tensor[3, 0])
    assert schema.out_of_range(tensor).tolist() == [False, False, False, True]


FLAGS = CategoryInput(name="flag", categories=("0", "1", "2.5", "false", "true"))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        *[("1", 3), (1, 3), (1.0, 3), (0, 2), (-0.0, 2), (2.5, 4), (True, 6), (False, 5), ("true", 6), (None, 1)],
        *[("1.0", 0), ("True", 0), (2, 0), (1e300, 0), (" 1", 0)],
    ],
)
def test_numbers_and_booleans_are_words(value: Any, code: int) -> None:
    """Spelled by one rule; a string is a word as it stands."""
    assert tensors([FLAGS], [{"flag": value}])["flag"].tolist() == [[code]]


@pytest.mark.parametrize(
    ("value", "code"),
    [([], "TYPE"), ({}, "TYPE"), (math.inf, "NUMBER_RANGE"), (math.nan, "NUMBER_RANGE"), (10**400, "NUMBER_RANGE")],
)
def test_what_is_no_word_is_a_problem(value: Any, code: str) -> None:
    """With its place."""
    with pytest.raises(Problem) as caught:
        tensors([FLAGS], [{"flag": "1"}, {"flag": value}])
    assert (caught.value.kind.code, caught.value.pointer) == (code, "/instances/1/flag")


@given(st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_word_survives_json(value: float) -> None:
    """However a client writes the number."""
    assert word(json.loads(json.dumps(value))) == word(value)


@pytest.mark.parametrize(("instance", "code"), [({"a": None, "b": 1}, "TYPE"), ({"b": 1}, "FIELD_MISSING")])
def test_a_required_number_is_never_missing(instance: dict[str, Any], code: str) -> None:
    """Neither null nor absent; beside it one that may be."""
    schema = [NumberInput(name="a", minimum=0, maximum=1, required=True), NumberInput(name="b", minimum=0, maximum=1)]
    with pytest.raises(Problem) as caught:
        tensors(schema, [instance])
    assert (caught.value.kind.code, caught.value.pointer) == (code, "/instances/0/a")
    assert np.isnan(tensors(schema, [{"a": 1}])["b"]).all()


def test_a_signalling_nan_is_a_missing_value_like_any_other() -> None:
    """Raw bytes of another program may hold one; numpy warns of arithmetic with it, and warnings are errors here."""
    signalling = np.array([0x7FF0000000000001], dtype=np.uint64).view(np.float64)
    found = NumberInput(name="age", minimum=0.0, maximum=9.0, origin=5.0).cast(signalling)
    assert np.isnan(found).all()
    assert found.dtype == np.float32
