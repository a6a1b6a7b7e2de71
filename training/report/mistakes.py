"""Probabilities of a split and its rows → the rows that the model was most sure and wrong about, shown to a person."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from clipmax.inputs import (
    FIRST_WORD_CODE,
    MISSING_CODE,
    CategoryInput,
    HistoryInput,
    ImageInput,
    Input,
    NumberInput,
    TextInput,
)
from training.data.dataset import Split
from training.report.figures import Mistake, Shown

_TEXT_CHARACTERS = 400
_SHOWN_INPUTS = 40


def most_confident(
    probabilities: npt.NDArray[np.floating[Any]],
    split: Split,
    inputs: Sequence[Input],
    labels: Sequence[str],
    *,
    count: int,
) -> tuple[Mistake, ...]:
    """The wrong rows with the highest probability, at most `count`, the surest first.

    Shape: probabilities float [N, K] of the N rows of `split`.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != split.labels)
    surest = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:count]
    return tuple(
        Mistake(
            row=row,
            true=labels[split.labels[row]],
            predicted=labels[predicted[row]],
            probability=float(probabilities[row, predicted[row]]),
            true_probability=float(probabilities[row, split.labels[row]]),
            inputs=tuple(show(schema, split.columns[schema.name][row]) for schema in inputs[:_SHOWN_INPUTS]),
        )
        for row in surest.tolist()
    )


def show(schema: Input, value: Any) -> Shown:
    """One value of a column, as training keeps it, as a person can look at it."""
    match schema:
        case ImageInput():
            return Shown(name=schema.name, kind="image", content=_png(schema, value))
        case TextInput():
            return Shown(name=schema.name, kind="text", content=_shortened(str(value)))
        case NumberInput():
            return Shown(name=schema.name, kind="value", content=_number(float(value[0]) + schema.origin))
        case CategoryInput():
            return Shown(name=schema.name, kind="value", content=_shortened(_word(schema, int(value[0]))))
        case HistoryInput():
            raise TypeError("no row with one label has a history")


def _png(schema: ImageInput, pixels: npt.NDArray[Any]) -> str:
    span = schema.maximum - schema.minimum or 1.0
    levels = np.clip((pixels.astype(np.float64) - schema.minimum) / span * 255, 0, 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _shortened(text: str) -> str:
    """Bounded, and without what JSON and HTML cannot hold."""
    clean = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return clean if len(clean) <= _TEXT_CHARACTERS else f"{clean[:_TEXT_CHARACTERS]}…"


def _number(value: float) -> str:
    return "missing" if math.isnan(value) else f"{value:.7g}"


def _word(schema: CategoryInput, code: int) -> str:
    if code >= FIRST_WORD_CODE:
        return schema.categories[code - FIRST_WORD_CODE]
    return "missing" if code == MISSING_CODE else "a word that training never saw"
