"""Numbers and words of a table row → features, inside the graph; bins and scores fitted on the training split.

A number becomes a piecewise-linear code over its bins (Gorishniy et al. 2022), which a small linear map of its own and
a ReLU turn into features; beside it stand a normal score and a flag for "missing". A word becomes one-hot, or, in a
column of very many words, a learned vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clipmax.inputs import FIRST_WORD_CODE, MISSING_CODE, UNKNOWN_CODE, CategoryInput, NumberInput
from training.config import Rows
from training.data.dataset import Column

Floats = npt.NDArray[np.float32]

_ONE_HOT_WORDS = 256
_SMALLEST = float(np.finfo(np.float32).tiny)  # below it floats are denormal, and flushed to zero while training
_TAIL = 0.005
_MAP_DEVIATION = 0.3


class RowEncoder(nn.Module):
    """All number and category columns of a table together.

    Shape:
        - Inputs: one tensor a column in the schema's order: float32 [N, 1] (NaN is missing) or int32 codes [N, 1]
        - Output: float32 [N, width]
    """

    def __init__(self, inputs: Sequence[NumberInput | CategoryInput], bins: Sequence[Bins], settings: Rows) -> None:
        super().__init__()
        words = [schema for schema in inputs if isinstance(schema, CategoryInput)]
        self.number_places = [place for place, schema in enumerate(inputs) if isinstance(schema, NumberInput)]
        self.word_places = [place for place, schema in enumerate(inputs) if isinstance(schema, CategoryInput)]
        self.numbers = Numbers(bins, settings) if bins else None
        self.words = Words([len(schema.categories) for schema in words], settings) if words else None
        self.width = sum(part.width for part in (self.numbers, self.words) if part is not None)

    @classmethod
    def fit(
        cls, inputs: Sequence[NumberInput | CategoryInput], columns: Mapping[str, Column], settings: Rows
    ) -> RowEncoder:
        """Learn the bins of every number from the training split; words come with the schema."""
        numbers = (schema for schema in inputs if isinstance(schema, NumberInput))
        return cls(inputs, [fit_bins(columns[schema.name][:, 0], settings.bins) for schema in numbers], settings)

    def forward(self, *columns: Tensor) -> Tensor:
        features = []
        if self.numbers is not None:
            features.append(self.numbers(torch.cat([columns[place] for place in self.number_places], dim=1)))
        if self.words is not None:
            features.append(self.words(torch.cat([columns[place] for place in self.word_places], dim=1)))
        return torch.cat(features, dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """What is learned of one number column; edges and median are in units of value · scale.

    Args:
        scale: a power of two that brings the column's largest value to 1..4, so that no difference overflows.
        edges: float32 [B + 1], strictly ascending, the first and last the ends of the training split.
        scores: float32 [B + 1], the normal score at each edge.
        median: stands in for a missing value.
    """

    scale: float
    edges: Floats
    scores: Floats
    median: float


class Numbers(nn.Module):
    """Shape: float32 [N, columns] → float32 [N, width]."""

    scale: Tensor
    first: Tensor
    last: Tensor
    median: Tensor
    low: Tensor
    size: Tensor
    rise: Tensor
    score: Tensor

    def __init__(self, bins: Sequence[Bins], settings: Rows) -> None:
        super().__init__()
        count, most = len(bins), max(len(each.edges) - 1 for each in bins)
        self.blanking = settings.blanking
        self.map = nn.Parameter(torch.randn(count, most, settings.column_width) * _MAP_DEVIATION)
        self.bias = nn.Parameter(torch.zeros(count, 1, settings.column_width))
        self.width = count * (settings.column_width + 2)
        for name, values in (
            ("scale", [each.scale for each in bins]),
            ("first", [each.edges[0] / np.float32(each.scale) for each in bins]),
            ("last", [each.edges[-1] / np.float32(each.scale) for each in bins]),
            ("median", [each.median / each.scale for each in bins]),
            ("score", [each.scores[0] for each in bins]),
        ):
            self.register_buffer(name, torch.tensor(np.array(values, dtype=np.float32)))
        # A bin that only pads starts at the last edge: its code is always 0.
        self.register_buffer("low", _padded([(each.edges[:-1], each.edges[-1]) for each in bins], most))
        self.register_buffer("size", _padded([(np.diff(each.edges), 1.0) for each in bins], most))
        self.register_buffer("rise", _padded([(np.diff(each.scores), 0.0) for each in bins], most))

    def forward(self, values: Tensor) -> Tensor:
        if self.training and self.blanking:
            values = values.masked_fill(torch.rand_like(values) < self.blanking, math.nan)
        missing = torch.isnan(values)
        # NaN passes through any clamp, so it goes first; afterwards infinities and 3e38 sit on the end edges.
        known = torch.where(missing, self.median, values)
        scaled = torch.minimum(torch.maximum(known, self.first), self.last) * self.scale
        codes = ((scaled.unsqueeze(2) - self.low) / self.size).clamp(0.0, 1.0)
        maps = torch.relu(torch.matmul(codes.transpose(0, 1), self.map) + self.bias)
        scores = self.score + (codes * self.rise).sum(dim=2)
        return torch.cat([maps.transpose(0, 1).flatten(1), scores, missing.to(torch.float32)], dim=1)


class Words(nn.Module):
    """Codes of all word columns: one-hot side by side, a vector for each column of more than 256 words.

    A code that does not exist counts as an unknown word.

    Shape: int32 [N, columns] → float32 [N, width].
    """

    limits: Tensor
    slot_columns: Tensor
    slot_codes: Tensor

    def __init__(self, counts: Sequence[int], settings: Rows) -> None:
        super().__init__()
        sizes = [count + FIRST_WORD_CODE for count in counts]
        short = [column for column, count in enumerate(counts) if count <= _ONE_HOT_WORDS]
        self.long = [column for column, count in enumerate(counts) if count > _ONE_HOT_WORDS]
        slots = [(column, code) for column in short for code in range(sizes[column])]
        self.blanking = settings.blanking
        self.register_buffer("limits", torch.tensor(sizes, dtype=torch.int32))
        self.register_buffer("slot_columns", torch.tensor([column for column, _ in slots], dtype=torch.int64))
        self.register_buffer("slot_codes", torch.tensor([code for _, code in slots], dtype=torch.int32))
        self.vectors = nn.ModuleList(_vectors(sizes[column], settings.column_width) for column in self.long)
        self.width = len(slots) + len(self.long) * settings.column_width

    def forward(self, codes: Tensor) -> Tensor:
        exists = (codes >= 0) & (codes < self.limits)
        codes = torch.where(exists, codes, UNKNOWN_CODE)
        if self.training and self.blanking:
            codes = self._blank(codes)
        features = []
        if len(self.slot_codes):
            features.append((codes.index_select(1, self.slot_columns) == self.slot_codes).to(torch.float32))
        features += [vectors(codes[:, column]) for column, vectors in zip(self.long, self.vectors, strict=True)]
        return torch.cat(features, dim=1)

    def _blank(self, codes: Tensor) -> Tensor:
        """Half of the blanked cells become missing, half unknown, so that both are trained everywhere."""
        draws = torch.rand(codes.shape)
        codes = codes.masked_fill(draws < self.blanking, MISSING_CODE)
        return codes.masked_fill(draws < self.blanking / 2, UNKNOWN_CODE)


def _vectors(words: int, width: int) -> nn.Embedding:
    vectors = nn.Embedding(words, width)
    nn.init.normal_(vectors.weight, std=_MAP_DEVIATION)
    return vectors


def fit_bins(values: Floats, most: int) -> Bins:
    """Bins of one column: quantiles of its distinct values, each weighted by the square root of its count.

    Plain quantiles leave a column with one frequent value hardly any bins: 92 % zeros keep 4 of 48.

    Args:
        values: float32 [rows], NaN is missing.
        most: bins at most; fewer on few rows (a twentieth of them, at least 4).
    """
    present = values[~np.isnan(values)]
    if not len(present):
        return Bins(1.0, np.array([0.0, 1.0], dtype=np.float32), np.zeros(2, dtype=np.float32), 0.0)
    scale = _scale(float(np.abs(present).max()))
    scaled = present * np.float32(scale)
    scaled[np.abs(scaled) < _SMALLEST] = 0.0
    distinct, counts = np.unique(scaled, return_counts=True)
    median = float(distinct[np.searchsorted(np.cumsum(counts), len(present) / 2)])
    if len(distinct) == 1:
        edges = np.array([distinct[0], np.nextafter(distinct[0], np.float32(np.inf)) + 1.0], dtype=np.float32)
        return Bins(scale, edges, np.zeros(2, dtype=np.float32), median)
    chosen = _edges(counts, min(most, max(4, len(values) // 20)))
    return Bins(scale, distinct[chosen], _scores(counts)[chosen], median)


def empty_bins(count: int) -> Bins:
    """So many bins that say nothing yet: the shapes of a column whose bins will be read from a graph."""
    edges = np.arange(count + 1, dtype=np.float32)
    return Bins(1.0, edges, np.zeros(count + 1, dtype=np.float32), 0.0)


def _edges(counts: npt.NDArray[np.int64], bins: int) -> npt.NDArray[np.int64]:
    """Which of the distinct values become edges: the first, the last, and those at equal steps of weight."""
    if len(counts) <= bins + 1:
        return np.arange(len(counts))
    weight = np.cumsum(np.sqrt(counts))
    inner = np.searchsorted(weight, weight[-1] * np.arange(1, bins) / bins)
    return np.unique(np.concatenate([[0], inner, [len(counts) - 1]]))


def _scores(counts: npt.NDArray[np.int64]) -> Floats:
    """The normal score of each distinct value at the middle of its ranks, clipped at the 0.5 and 99.5 % points."""
    shares = (np.cumsum(counts) - counts / 2) / counts.sum()
    normal = NormalDist()
    return np.array([normal.inv_cdf(share) for share in np.clip(shares, _TAIL, 1.0 - _TAIL)], dtype=np.float32)


def _scale(largest: float) -> float:
    """A power of two and a normal float32 itself; 1 for a column of zeros."""
    return 1.0 if largest < _SMALLEST else 2.0 ** max(-126, min(126, -math.floor(math.log2(largest))))


def _padded(rows: Sequence[tuple[Floats, float]], width: int) -> Tensor:
    """float32 [rows, width]: each row's values, then its filling."""
    result = np.empty((len(rows), width), dtype=np.float32)
    for index, (values, filling) in enumerate(rows):
        result[index, : len(values)] = values
        result[index, len(values) :] = filling
    return torch.from_numpy(result)
