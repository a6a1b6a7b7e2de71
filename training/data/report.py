"""A split data set → short lines on what is odd about it: imbalance, gaps, repeats, leaks, columns without content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from clipmax.inputs import MISSING_CODE, ImageInput, Input, NumberInput, TextInput
from clipmax.refusal import shorten
from training.data.dataset import Column, Dataset, Indices, Split

Keys = npt.NDArray[np.uint64]

_SHOWN_COLUMNS = 5
_BINS = 64
_LEFT_ERRORS = 0.05
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A split and one 64-bit key a row: equal inputs have equal keys, others but for a chance of 1 in 10⁸."""

    name: str
    split: Split
    keys: Keys

    def row(self, place: int) -> str:
        return f"{self.name} row {self.split.row_numbers[place]}"


def lines(dataset: Dataset) -> list[str]:
    """What to know before training, one finding a line, each with a count and an example row of the file."""
    keyed = [_Keyed(name, split, _row_keys(dataset.inputs, split)) for name, split in dataset.splits.items()]
    return [
        *_classes(dataset),
        *_missing(dataset),
        *_constant(dataset),
        *_repeats(keyed),
        *_leaks(keyed),
        *_contradictions(keyed),
        *_giveaways(dataset),
    ]


def _classes(dataset: Dataset) -> Iterator[str]:
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.labels))
    most, least = int(counts.argmax()), len(counts) - 1 - int(counts[::-1].argmin())
    shares = [f"{shorten(dataset.labels[label])} {counts[label] / counts.sum():.1%}" for label in (most, least)]
    yield f"classes: {len(counts)}, the most frequent {shares[0]}, the rarest {shares[1]} ({counts[least]:,} rows)"


def _missing(dataset: Dataset) -> Iterator[str]:
    found = []
    for schema in dataset.inputs:
        gaps = _gaps(schema, dataset.train.columns[schema.name])
        if gaps.any():
            example = dataset.train.row_numbers[int(gaps.argmax())]
            found.append((gaps.mean(), f"{schema.name!r} {gaps.mean():.1%} (row {example})"))
    found.sort(key=lambda each: -each[0])
    if found:
        more = f" and {len(found) - _SHOWN_COLUMNS} columns more" if len(found) > _SHOWN_COLUMNS else ""
        yield f"missing: {', '.join(text for _, text in found[:_SHOWN_COLUMNS])}{more}"


def _gaps(schema: Input, column: Column) -> npt.NDArray[np.bool_]:
    if isinstance(schema, NumberInput):
        return np.asarray(np.isnan(column[:, 0]))
    if isinstance(schema, TextInput):
        return np.asarray(column == "", dtype=np.bool_)
    if isinstance(schema, ImageInput):
        return np.zeros(len(column), dtype=np.bool_)
    return np.asarray(column[:, 0] == MISSING_CODE)


def _constant(dataset: Dataset) -> Iterator[str]:
    for schema in dataset.inputs:
        keys = _column_keys(schema, dataset.train.columns[schema.name])
        if (keys == keys[0]).all():
            row = dataset.train.row_numbers[0]
            yield f"constant: column {schema.name!r} has one value in all {len(keys):,} training rows (as in row {row})"


def _repeats(keyed: list[_Keyed]) -> Iterator[str]:
    for part in keyed:
        _, first, inverse = np.unique(part.keys, return_index=True, return_inverse=True)
        repeats = np.flatnonzero(first[inverse] != np.arange(len(part.keys)))
        if len(repeats):
            again = int(repeats[0])
            example = f"{part.row(again)} repeats row {part.split.row_numbers[first[inverse[again]]]}"
            yield f"duplicates: {len(repeats):,} of {len(part.keys):,} rows within {part.name} ({example})"


def _leaks(keyed: list[_Keyed]) -> Iterator[str]:
    for place, learned in enumerate(keyed):
        for held_out in keyed[place + 1 :]:
            known = np.flatnonzero(np.isin(held_out.keys, learned.keys))
            if len(known):
                row = int(known[0])
                same = int((learned.keys == held_out.keys[row]).argmax())
                share = len(known) / len(held_out.keys)
                yield (
                    f"leak: {len(known):,} rows ({share:.1%}) of {held_out.name} are also in {learned.name} "
                    f"({held_out.row(row)} = {learned.row(same)})"
                )


def _contradictions(keyed: list[_Keyed]) -> Iterator[str]:
    """The same input under two labels, over all splits."""
    keys = np.concatenate([part.keys for part in keyed])
    labels = np.concatenate([part.split.labels for part in keyed])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    odd = np.flatnonzero(labels != labels[first[inverse]])
    if len(odd):
        example = f"{_place(keyed, int(odd[0]))} against {_place(keyed, int(first[inverse[odd[0]]]))}"
        yield f"contradictions: {len(odd):,} rows have the same input as another but another label ({example})"


def _place(keyed: list[_Keyed], place: int) -> str:
    """A row of all splits one after the other, by its name."""
    for part in keyed:
        if place < len(part.keys):
            return part.row(place)
        place -= len(part.keys)
    raise AssertionError("no such row")


def _giveaways(dataset: Dataset) -> Iterator[str]:
    """Columns that alone predict the label of held-out rows nearly without error: most often a leak from the future."""
    held_out = dataset.validation
    majority = np.bincount(dataset.train.labels).argmax()
    base_errors = int((held_out.labels != majority).sum())
    for schema in dataset.inputs:
        if isinstance(schema, ImageInput):
            continue
        train, other = _values(schema, dataset.train, dataset.train), _values(schema, dataset.train, held_out)
        wrong = np.flatnonzero(_majorities(train, dataset.train.labels, other, int(majority)) != held_out.labels)
        if len(wrong) <= _LEFT_ERRORS * base_errors:
            right = len(other) - len(wrong)
            yield (
                f"giveaway: column {schema.name!r} alone tells the label of {right:,} of {len(other):,} validation "
                f"rows (as in row {held_out.row_numbers[0]})"
            )


def _values(schema: Input, train: Split, split: Split) -> Keys:
    """A few values to learn by heart: numbers in at most 64 bins, missing in a bin of its own."""
    column = split.columns[schema.name]
    if not isinstance(schema, NumberInput):
        return _column_keys(schema, column)
    learned = train.columns[schema.name][:, 0]
    present = learned[~np.isnan(learned)]
    edges = np.unique(np.quantile(present, np.arange(1, _BINS) / _BINS, method="nearest")) if len(present) else present
    bins = np.searchsorted(edges, column[:, 0], side="right").astype(np.uint64)
    bins[np.isnan(column[:, 0])] = _BINS + 1
    return bins


def _majorities(values: Keys, labels: Indices, other: Keys, default: int) -> Indices:
    """For each of the other values the most frequent label that it had in training; `default` where it had none."""
    counts = (
        pl.DataFrame({"value": values, "label": labels})
        .group_by("value", "label")
        .len()
        .sort(["len", "label"], descending=[True, False])
        .unique("value", keep="first", maintain_order=True)
    )
    found = pl.DataFrame({"value": other}).join(counts, on="value", how="left", maintain_order="left")
    return found["label"].fill_null(default).to_numpy().astype(np.int64)


def _row_keys(inputs: tuple[Input, ...], split: Split) -> Keys:
    keys = np.zeros(len(split), dtype=np.uint64)
    for schema in inputs:
        keys = _mixed((keys * _MIX) ^ _column_keys(schema, split.columns[schema.name]))
    return keys


def _column_keys(schema: Input, column: Column) -> Keys:
    """uint64 [rows]: equal values, equal keys."""
    if isinstance(schema, TextInput):
        return pl.Series(column.tolist(), dtype=pl.String).hash(0).to_numpy()
    if isinstance(schema, ImageInput):
        return np.array([hash(row.tobytes()) for row in column], dtype=np.int64).view(np.uint64)
    if isinstance(schema, NumberInput):
        canonical = np.where(np.isnan(column[:, 0]), np.float32(np.nan), column[:, 0] + np.float32(0.0))
        return _mixed(canonical.astype(np.float32).view(np.uint32).astype(np.uint64))
    return _mixed(column[:, 0].astype(np.int64).view(np.uint64))


def _mixed(keys: Keys) -> Keys:
    """Every bit of the result depends on every bit of the key (splitmix64)."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
