"""The schema and the training split → the encoders of a model, chosen by kind through one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol, cast

import torch
from torch import nn

from clipmax.inputs import Input
from training import config
from training.data.dataset import Dataset, Split
from training.features.images import ImageEncoder
from training.features.rows import RowEncoder, empty_bins
from training.features.text.encoder import TextEncoder
from training.features.text.vocabulary import Vocabulary
from training.weights import Weights


class Encoder(Protocol):
    """A torch module that turns the tensors of its inputs into float32 features [N, width]."""

    width: int


@dataclass(frozen=True, slots=True)
class Placed:
    """An encoder and the inputs that it takes, by their places in the schema."""

    encoder: nn.Module
    places: tuple[int, ...]


Build = Callable[[Sequence[Any], Split, config.Run, int], nn.Module]
Restore = Callable[[Sequence[Any], Weights, config.Run, int], nn.Module]


def _image(inputs: Sequence[Any], train: Split, run: config.Run, _classes: int) -> nn.Module:
    (schema,) = inputs
    return ImageEncoder.fit(schema, train.columns[schema.name], run.images)


def _rows(inputs: Sequence[Any], train: Split, run: config.Run, _classes: int) -> nn.Module:
    return RowEncoder.fit(inputs, train.columns, run.rows)


def _text(inputs: Sequence[Any], train: Split, run: config.Run, classes: int) -> nn.Module:
    (schema,) = inputs
    return TextEncoder.fit(schema, train.columns[schema.name].tolist(), classes, run.texts)


BUILDERS: Mapping[str, Build] = MappingProxyType({"image": _image, "rows": _rows, "text": _text})
"""Family of inputs → what fits its encoder: (the inputs it takes, the training split, the run, classes) → module."""


def _restored_image(inputs: Sequence[Any], weights: Weights, _run: config.Run, _classes: int) -> nn.Module:
    (schema,) = inputs
    return ImageEncoder(schema, mean=weights.take("mean").item(), deviation=weights.take("deviation").item())


def _restored_rows(inputs: Sequence[Any], weights: Weights, run: config.Run, _classes: int) -> nn.Module:
    numbers = sum(schema.kind == "number" for schema in inputs)
    bins = weights.take("numbers.low").shape[1] if numbers else 0
    encoder = RowEncoder(inputs, [empty_bins(bins)] * numbers, run.rows)
    weights.fill(encoder)
    return encoder


def _restored_text(inputs: Sequence[Any], weights: Weights, run: config.Run, classes: int) -> nn.Module:
    (schema,) = inputs
    rows_of, rarity = weights.take("rows_of")[:, 0].numpy(), weights.take("weights")[:, 0].numpy()
    encoder = TextEncoder(schema, Vocabulary(rows_of, rarity), classes, run.texts)
    with torch.no_grad():
        encoder.deep.copy_(weights.take("joined")[:, : encoder.width])
    return encoder


RESTORERS: Mapping[str, Restore] = MappingProxyType(
    {"image": _restored_image, "rows": _restored_rows, "text": _restored_text}
)
"""The same families → what rebuilds an encoder from a graph: (its inputs, its weights, the run, classes) → module."""

_FAMILIES: Mapping[str, str] = MappingProxyType({"number": "rows", "category": "rows"})
"""Kinds whose inputs share one encoder; every other kind has one encoder an input."""


def build(inputs: Sequence[Input], train: Split, run: config.Run, classes: int) -> list[Placed]:
    """All encoders of a model, fitted on the training split, each with the places of its inputs in the schema."""
    return [
        Placed(BUILDERS[family]([inputs[place] for place in places], train, run, classes), places)
        for family, places in _groups(inputs)
    ]


def restore(inputs: Sequence[Input], weights: Weights, run: config.Run, classes: int) -> list[Placed]:
    """The encoders of a published version, fitted on its training split and not on ours.

    Args:
        inputs: the version's own schema.
        weights: of its graph.
        run: with the version's widths.
        classes: of the new model; logits that an encoder gives by itself start at 0.

    Raises:
        Refusal: a weight that is not in the graph.
    """
    return [
        Placed(
            RESTORERS[family]([inputs[place] for place in places], weights.under(f"encoders.{index}."), run, classes),
            places,
        )
        for index, (family, places) in enumerate(_groups(inputs))
    ]


def prepare(placed: Sequence[Placed], dataset: Dataset) -> Dataset:
    """The data set with every text as its bag of n-grams, made once by the encoder that will be exported."""
    texts = {
        dataset.inputs[each.places[0]].name: each.encoder for each in placed if isinstance(each.encoder, TextEncoder)
    }

    def prepared(split: Split) -> Split:
        bags = {name: encoder.prepare(split.columns[name].tolist()) for name, encoder in texts.items()}
        return replace(split, prepared=bags)

    if not texts:
        return dataset
    return replace(dataset, train=prepared(dataset.train), validation=prepared(dataset.validation))


def width(placed: Sequence[Placed]) -> int:
    """Features that all encoders give together."""
    return sum(cast("Encoder", each.encoder).width for each in placed)


def _groups(inputs: Sequence[Input]) -> list[tuple[str, tuple[int, ...]]]:
    """(family, places): numbers and categories together where the first of them stands, the others one by one."""
    groups: list[tuple[str, tuple[int, ...]]] = []
    shared: set[str] = set()
    for place, schema in enumerate(inputs):
        family = _FAMILIES.get(schema.kind)
        if family is None:
            groups.append((schema.kind, (place,)))
        elif family not in shared:
            shared.add(family)
            together = tuple(other for other, each in enumerate(inputs) if _FAMILIES.get(each.kind) == family)
            groups.append((family, together))
    return groups
