"""A data set read on its own → the same rows as a published version takes them: its codes, origins and ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clipmax.inputs import FIRST_WORD_CODE, MISSING_CODE, UNKNOWN_CODE, CategoryInput, ImageInput, Input, NumberInput
from clipmax.refusal import Refusal
from training.data.dataset import Column, Dataset, Split

Recode = Callable[[Column], Column]


def recode(dataset: Dataset, inputs: Sequence[Input], *, where: Path) -> Dataset:
    """The data set under a version's own schema, columns matched by name.

    A word that the version does not know gets the code of an unknown one; a number outside its range stays, because
    the graph clips it.

    Args:
        dataset: whose schema came from its own training split.
        inputs: of the version's manifest.
        where: the version's folder, for messages.

    Raises:
        Refusal: a column is missing, is another kind of input, or is left over; images of another shape.
    """
    found = {schema.name: schema for schema in dataset.inputs}
    over = sorted(found.keys() - {schema.name for schema in inputs})
    if over:
        raise Refusal(where, "inputs", expected="no other columns than its own", found=", ".join(over))
    changes = {schema.name: _change(schema, found.get(schema.name), where) for schema in inputs}

    def changed(split: Split) -> Split:
        return replace(split, columns={name: change(split.columns[name]) for name, change in changes.items()})

    return replace(
        dataset,
        inputs=tuple(inputs),
        train=changed(dataset.train),
        validation=changed(dataset.validation),
        test=changed(dataset.test),
    )


def _change(theirs: Input, ours: Input | None, where: Path) -> Recode:
    """What turns a column of ours into one of theirs."""
    if ours is None:
        raise Refusal(where, f"input {theirs.name}", expected=f"a column of this name ({theirs.kind})", found="none")
    if isinstance(theirs, ImageInput) and isinstance(ours, ImageInput):
        if theirs.shape != ours.shape:
            found = " × ".join(map(str, ours.shape))
            raise Refusal(where, f"input {theirs.name}", expected=" × ".join(map(str, theirs.shape)), found=found)
        return _same
    if isinstance(theirs, NumberInput) and isinstance(ours, NumberInput):
        origin = ours.origin
        return lambda column: theirs.cast(column[:, 0].astype(np.float64) + origin)
    if isinstance(theirs, CategoryInput) and isinstance(ours, CategoryInput):
        codes = _codes(ours.categories, theirs.codes)
        return lambda column: codes[column]
    if theirs.kind != ours.kind:
        raise Refusal(where, f"input {theirs.name}", expected=f"a {theirs.kind}, as it was", found=f"a {ours.kind}")
    return _same


def _same(column: Column) -> Column:
    return column


def _codes(words: Sequence[str], codes: Mapping[str, int]) -> Column:
    """int32 [our codes] → their code."""
    found = np.empty(len(words) + FIRST_WORD_CODE, dtype=np.int32)
    found[[UNKNOWN_CODE, MISSING_CODE]] = UNKNOWN_CODE, MISSING_CODE
    found[FIRST_WORD_CODE:] = [codes.get(word, UNKNOWN_CODE) for word in words]
    return found
