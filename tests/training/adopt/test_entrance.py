"""A graph's inputs become columns or images as clients have them; what cannot be described is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from clipmax.refusal import Refusal
from tests.training.adopt.examining import examine
from tests.training.adopt.frameworks import Array
from tests.training.adopt.graphs import LABELS, LINEAR, content, linear, model

FLAT = np.random.default_rng(4).normal(size=(12, 3)).astype(np.float32)
RGB = np.random.default_rng(4).normal(size=(36, 3)).astype(np.float32)
LAST = [("Flatten", ["x"], ["f"]), ("MatMul", ["f", "flat"], ["y"])]


@pytest.mark.parametrize(
    ("shape", "image", "expected"),
    [
        (("N", 3, 4), (), (3, 4)),
        (("N", 4, 3, 1), (), (4, 3)),
        (("N", 1, 4, 3), (4, 3), (4, 3)),
        (("N", 12), (4, 3), (4, 3)),
        (("N", 3, 4, 3), None, None),
        (("N", 6, 2, 3), (), (6, 2, 3)),
        (("N", 3, 6, 2), (), (6, 2, 3)),
    ],
)
def test_pixels_are_laid_out_as_the_graph_wants_them(
    shape: tuple[str | int, ...], image: tuple[int, ...] | None, expected: tuple[int, ...] | None, tmp_path: Path
) -> None:
    """Gray or rgb, channels first or last, flat; two places that could be channels are refused."""
    weight = FLAT if np.prod([size for size in shape if isinstance(size, int)]) == 12 else RGB
    made = content(model(*LAST, shape=shape, constants={"flat": weight}))
    if expected is None:
        with pytest.raises(Refusal, match="1 or 3 channels in one place"):
            examine(tmp_path, made, LABELS, pixels=(0.0, 1.0))
        return
    found = examine(tmp_path, made, LABELS, pixels=(-1.0, 1.0), image=image)
    assert found.inputs[0].shape == expected
    pixels = np.random.default_rng(5).integers(0, 256, (7, *expected))
    scaled = pixels / 127.5 - 1.0
    laid_out = np.moveaxis(scaled, -1, 1) if shape[1] == 3 and len(expected) == 3 else scaled
    logits, _ = found.run(pixels)
    np.testing.assert_allclose(logits, laid_out.reshape(7, -1) @ weight, atol=1e-4)


def test_the_scale_of_pixels_is_never_guessed(tmp_path: Path) -> None:
    """A wrong one gives wrong answers in silence."""
    made = content(model(*LAST, shape=("N", 4, 3), constants={"flat": FLAT}))
    with pytest.raises(Refusal, match="pixels: expected what black and white are for the model"):
        examine(tmp_path, made, LABELS)
    with pytest.raises(Refusal, match="pixels: expected what black and white"):
        examine(tmp_path, made, LABELS, pixels=(1.0, 1.0))


def test_double_precision_is_fed_as_such(tmp_path: Path) -> None:
    """As scikit-learn has it."""
    made = model(
        ("Cast", ["x"], ["f"], {"to": TensorProto.FLOAT}), ("MatMul", ["f", "weight"], ["y"]), dtype=TensorProto.DOUBLE
    )
    found = examine(tmp_path, content(made), LABELS)
    rows = np.random.default_rng(6).normal(size=(5, 4)).astype(np.float32)
    weight = linear().graph.initializer[0]
    np.testing.assert_allclose(found.run(rows)[0], rows @ _array(weight), atol=1e-5)


def test_several_inputs_become_columns_by_their_own_names(tmp_path: Path) -> None:
    """Where each is one column; data may bring them in another order."""
    made = model(("Concat", ["x", "age"], ["both"], {"axis": 1}), ("MatMul", ["both", "two"], ["y"]), shape=("N", 1),
                 constants={"two": FLAT[:2]})  # fmt: skip
    made.graph.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, ["N", 1]))
    found = examine(tmp_path, content(made), LABELS, columns=("age", "x", "unused"))
    assert [schema.name for schema in found.inputs] == ["x", "age"]
    rows = np.random.default_rng(7).normal(size=(5, 2))
    np.testing.assert_allclose(found.run(rows)[0], rows @ FLAT[:2], atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        (("N", 4), TensorProto.INT64, "expected numbers with a fraction"),
        (("N", 4), TensorProto.STRING, "found STRING"),
        (("N", "M"), TensorProto.FLOAT, "a fixed size for every axis"),
        (("N",), TensorProto.FLOAT, "a fixed size for every axis"),
        (("N", 2000), TensorProto.FLOAT, "columns: expected at most 1024"),
    ],
)
def test_what_a_client_could_not_send_is_refused(
    shape: tuple[str | int, ...], dtype: int, message: str, tmp_path: Path
) -> None:
    """Whole numbers, words, sequences, and more columns than anybody names."""
    with pytest.raises(Refusal, match=message):
        examine(tmp_path, content(model(("Identity", ["x"], ["y"]), shape=shape, dtype=dtype)), LABELS)


@pytest.mark.parametrize("names", [("a", "b", "c", "a"), ("a", "b", "c", "logits"), ("a", "b", "c", "")])
def test_names_that_columns_cannot_have_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    """Twice, the graph's own, empty."""
    with pytest.raises(Refusal, match=r"columns|name"):
        examine(tmp_path, content(model(LINEAR)), LABELS, columns=names)


def _array(tensor: TensorProto) -> Array:
    found: Array = numpy_helper.to_array(tensor)
    return found
