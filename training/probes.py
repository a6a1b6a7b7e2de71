"""The schema and the test split → rows that try a graph: ordinary, at and beyond every end, missing, unknown, noise.

Two views of the same idea: `instances` are JSON values as a client sends them (golden examples), `columns` are
tensors, which can also hold what no client can send (a code that does not exist, infinity).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import JsonValue

from clipmax.inputs import (
    FIRST_WORD_CODE,
    MISSING_CODE,
    CategoryInput,
    ImageInput,
    Input,
    NumberInput,
    Tensor,
    TextInput,
    tensors,
)
from training.data.dataset import Column, Dataset
from training.features import columns as training_columns

ENDS = ("lowest", "highest", "below", "above", "missing", "unknown")
_GOLDEN_ROWS = 16
_BEYOND = 3e38
_ODD_NUMBERS = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, 1e-45, -0.0)
_ODD_CODES = (-1, 0, 1, 10_000, 2**31 - 1, -(2**31))
_ODD_TEXTS = (
    "",
    " ",
    "\0",
    "\U0001f642\u200d\U0001f642",
    "\ud800",
    "pay\u200bpal",
    "\u4e2d\u6587",
    "\xe9e\u0301",
    "a" * 40,
    "card " * 50,
    "\U0010ffff",
)


def instances(dataset: Dataset) -> list[JsonValue]:
    """The first test row of every class (at most sixteen), then every input at once at each of its `ENDS`.

    A model of one input takes the bare value, one of several an object by input name.
    """
    _, first = np.unique(dataset.test.labels, return_index=True)
    rows = [
        [_value(schema, dataset.test.columns[schema.name][row]) for schema in dataset.inputs]
        for row in np.sort(first)[:_GOLDEN_ROWS]
    ]
    rows += [[_end(schema, end) for schema in dataset.inputs] for end in ENDS]
    found = [_instance(dataset.inputs, row) for row in rows]
    return [instance for place, instance in enumerate(found) if instance not in found[:place]]


def columns(dataset: Dataset, batch: int) -> list[tuple[str, dict[str, Tensor]]]:
    """Named tensors by input name, `batch` rows each: test rows, each of `ENDS`, and noise of every sort."""
    test = np.arange(batch) % len(dataset.test)
    ordinary = {
        schema.name: training_columns.tensor(schema, dataset.test.columns[schema.name][test]).numpy()
        for schema in dataset.inputs
    }
    ends = [_instance(dataset.inputs, [_end(schema, end) for schema in dataset.inputs]) for end in ENDS]
    generator = np.random.default_rng(batch)
    noise = {schema.name: _noise(schema, batch, generator) for schema in dataset.inputs}
    return [
        ("test rows", ordinary),
        *((end, tensors(dataset.inputs, [row] * batch)) for end, row in zip(ENDS, ends, strict=True)),
        ("noise", noise),
    ]


def _instance(inputs: Sequence[Input], values: Sequence[JsonValue]) -> JsonValue:
    if len(inputs) == 1:
        return values[0]
    return {schema.name: value for schema, value in zip(inputs, values, strict=True)}


def _value(schema: Input, cell: Column) -> JsonValue:
    """One cell of a split as a client would send it."""
    if isinstance(schema, NumberInput):
        return None if np.isnan(cell[0]) else schema.origin + float(cell[0])
    if isinstance(schema, CategoryInput):
        return _word(schema, int(cell[0]))
    if isinstance(schema, TextInput):
        return str(cell)
    pixels: list[JsonValue] = cell.reshape(-1).tolist()
    return pixels


def _word(schema: CategoryInput, code: int) -> str | None:
    if code == MISSING_CODE:
        return None
    return schema.categories[code - FIRST_WORD_CODE] if code >= FIRST_WORD_CODE else _unknown_word(schema)


def _unknown_word(schema: CategoryInput) -> str:
    """A word that looks like a known one, with as many zero-width blanks as make it another."""
    word = schema.categories[0] if schema.categories else ""
    while word in schema.codes or not word:
        word += "\u200b"
    return word


def _end(schema: Input, end: str) -> JsonValue:
    if isinstance(schema, ImageInput):
        return [_image_ends(schema)[end]] * schema.size
    if isinstance(schema, NumberInput):
        return {"lowest": schema.minimum, "highest": schema.maximum, "below": -_BEYOND, "above": _BEYOND}.get(end)
    if isinstance(schema, CategoryInput):
        return _category_ends(schema)[end]
    return {"lowest": "a", "highest": "word " * 40, "above": "\U0010ffff" * 8, "unknown": "\ue000\ue001"}.get(end, "")


def _image_ends(schema: ImageInput) -> Mapping[str, float]:
    """An image is always there: what is missing or unknown elsewhere is black or white here."""
    low, high = schema.minimum, schema.maximum
    return dict(zip(ENDS, (low, high, -_BEYOND, _BEYOND, low, high), strict=True))


def _category_ends(schema: CategoryInput) -> Mapping[str, str | None]:
    first = schema.categories[0] if schema.categories else None
    last = schema.categories[-1] if schema.categories else None
    return dict(zip(ENDS, (first, last, first, last, None, _unknown_word(schema)), strict=True))


def _noise(schema: Input, batch: int, generator: np.random.Generator) -> Tensor:
    if isinstance(schema, ImageInput):
        return generator.uniform(schema.minimum, schema.maximum, (batch, *schema.shape)).astype(np.float32)
    if isinstance(schema, NumberInput):
        low, high = np.float32(schema.minimum - schema.origin), np.float32(schema.maximum - schema.origin)
        pool = np.array([*_ODD_NUMBERS, low, high, *generator.normal(low, 1.0 + abs(high - low), 8)], dtype=np.float32)
        return generator.choice(pool, (batch, 1))
    if isinstance(schema, CategoryInput):
        pool = np.array([*_ODD_CODES, *range(len(schema.categories) + FIRST_WORD_CODE + 1)], dtype=np.int32)
        return generator.choice(pool, (batch, 1))
    texts = np.array(_ODD_TEXTS, dtype=object)[generator.integers(len(_ODD_TEXTS), size=batch)]
    return training_columns.tensor(schema, texts).numpy()
