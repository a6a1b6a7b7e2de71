"""The surest wrong rows, as a person can look at them."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from clipmax.inputs import ImageInput
from tests.training.report.evidence import IMAGE, ROW, TEXT, evidence
from training.report.mistakes import most_confident, show


def test_the_surest_wrong_rows_come_first() -> None:
    """Only wrong ones, by falling probability, with both labels."""
    given = evidence()
    probabilities, split = given.measured.test.probabilities, given.dataset.test
    found = most_confident(probabilities, split, given.dataset.inputs, given.dataset.labels, count=7)
    wrong = probabilities[probabilities.argmax(axis=1) != split.labels].max(axis=1)
    assert [mistake.probability for mistake in found] == sorted(wrong.tolist(), reverse=True)[:7]
    for mistake in found:
        assert mistake.true == given.dataset.labels[split.labels[mistake.row]] != mistake.predicted
        assert mistake.true_probability <= mistake.probability


def test_an_image_is_a_png_of_its_pixels() -> None:
    """Gray and rgb, the schema's range spread over black to white."""
    for shape in ((4, 5), (4, 5, 3)):
        schema = ImageInput(name="image", shape=shape, minimum=-1.0, maximum=1.0)
        pixels = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(show(schema, pixels).content))))
        assert decoded.shape == shape
        assert (decoded.min(), decoded.max()) == (0, 255)


def test_a_number_is_shown_as_the_data_had_it() -> None:
    """With its origin added again, and missing where it is missing."""
    assert show(ROW[0], np.array([0.5], dtype=np.float32)).content == "100.5"
    assert show(ROW[0], np.array([np.nan], dtype=np.float32)).content == "missing"


def test_a_category_is_shown_as_its_word() -> None:
    """Or that it is missing, or was never seen."""
    codes = [np.array([code], dtype=np.int32) for code in (0, 1, 2)]
    assert [show(ROW[1], code).content for code in codes] == ["a word that training never saw", "missing", "EUR"]


def test_a_text_is_cut_and_cleaned() -> None:
    """Lone surrogates and NUL would break the file."""
    assert show(TEXT, "a\ud800b\0c").content == "a?b\N{REPLACEMENT CHARACTER}c"
    assert len(show(TEXT, "x" * 10_000).content) == 401
    assert show(IMAGE, np.zeros((4, 4), dtype=np.uint8)).kind == "image"
