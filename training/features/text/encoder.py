"""Code points → features for the perceptron and logits of their own: the text encoder, exported with the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from clipmax.inputs import TextInput, code_points
from training import config
from training.features.text import bags, vocabulary
from training.features.text.bags import Bags
from training.features.text.ngrams import NO_NGRAM, ORDERS, WORD_ORDERS, Ngrams
from training.features.text.vocabulary import Vocabulary

_CHUNK_TEXTS, _BLOCK_TEXTS = 256, 8192
_SMALLEST_NORM = 1e-6


class TextEncoder(nn.Module):
    """Words, pairs of words and 1 to 4 characters, weighted by their rarity, summed up from two tables.

    Equal n-grams of a text count once, so a word said 200 times weighs as much as one said twice; the weights of
    words and of characters have length 1 each. The narrow table `deep` gives features, the table `wide`, as broad as
    the classes, gives logits: a linear model beside the perceptron (Cheng et al. 2016, "Wide & deep learning").
    While training, a text comes as its bag of n-grams, which `prepare` computes once with this very module.

    Shape:
        - Input: int32 [N, L], code points, zero padded; or `Bags` of N texts
        - Output: float32 [N, width], the features, and float32 [N, K], the logits, 0 where nothing is known
    """

    rows_of: Tensor
    weights: Tensor
    joined: Tensor | None

    def __init__(self, schema: TextInput, fitted: Vocabulary, classes: int, settings: config.Texts) -> None:
        super().__init__()
        self.max_length, self.width, self.dropout = schema.max_length, settings.width, settings.ngram_dropout
        self.vocabulary = fitted
        self.ngrams = Ngrams()
        self.register_buffer("rows_of", torch.from_numpy(fitted.rows_of).unsqueeze(1), persistent=False)
        self.register_buffer("weights", torch.from_numpy(fitted.weights).unsqueeze(1), persistent=False)
        self.register_buffer("joined", None, persistent=False)
        self.deep = nn.Parameter(torch.randn(len(fitted), self.width) * (0.1 / math.sqrt(self.width)))
        self.wide = nn.Parameter(torch.zeros(len(fitted), classes))

    @classmethod
    def fit(cls, schema: TextInput, texts: Sequence[str], classes: int, settings: config.Texts) -> Self:
        """The vocabulary of these texts, which must be the training split; the tables at their first weights."""
        ngrams = Ngrams()
        found = (ngrams(chunk[:, : schema.max_length]).numpy() for _, chunk in _chunks(texts, schema.max_length))
        fitted = vocabulary.fit(found, min_texts=settings.min_texts, max_rows=settings.max_rows)
        return cls(schema, fitted, classes, settings)

    def forward(self, texts: Tensor | Bags) -> tuple[Tensor, Tensor]:
        if isinstance(texts, Bags):
            return self._of_bags(texts)
        table = torch.cat([self.deep, self.wide], dim=1) if self.joined is None else self.joined
        both = _sum(table, *self.rows(texts))
        return both[:, : self.width], both[:, self.width :]

    def join_tables(self) -> None:
        """Lay both tables side by side, which halves the look-ups in the exported graph; the weights are final now."""
        self.joined = torch.cat([self.deep, self.wide], dim=1).detach()

    def rows(self, texts: Tensor) -> tuple[Tensor, Tensor]:
        """The n-grams of code points int32 [N, L] as rows of the tables and their weights, both [N, 6, L].

        Row 0 with weight 0 stands where there is none, where training never saw it, and where it came before.
        """
        buckets = self.ngrams(texts[:, : self.max_length])
        found = functional.embedding(buckets, self.rows_of).squeeze(-1)
        ordered = torch.sort(found, dim=2, descending=True).values
        rows = torch.where(ordered != _before(ordered), ordered, vocabulary.UNKNOWN_ROW)
        weights = functional.embedding(rows, self.weights).squeeze(-1)
        words, characters = weights[:, : len(WORD_ORDERS)], weights[:, len(WORD_ORDERS) :]
        return rows, torch.cat([_normalized(words), _normalized(characters)], dim=1)

    def known(self, texts: Tensor) -> Tensor:
        """int64 [N], how many different n-grams of each text training has seen; 0 is nothing to go on."""
        rows, _ = self.rows(texts)
        return (rows > 0).sum(dim=(1, 2))

    def unseen(self, texts: Tensor) -> Tensor:
        """float32 [N], which share of each text's n-grams training has not seen; 0 for a text that has none."""
        buckets = self.ngrams(texts[:, : self.max_length])
        is_there = buckets != NO_NGRAM
        is_known = functional.embedding(buckets, self.rows_of).squeeze(-1) != vocabulary.UNKNOWN_ROW
        count = is_there.sum(dim=(1, 2)).to(torch.float32)
        missing = (is_there & ~is_known).sum(dim=(1, 2)).to(torch.float32)
        shares: Tensor = missing / count.clamp(min=1.0)
        return shares

    def prepare(self, texts: Sequence[str]) -> Bags:
        """All texts as bags of n-grams, by the module that is exported; about 1 kB a text of 60 characters."""
        starts = range(0, len(texts), _BLOCK_TEXTS)
        return bags.join([self._block(texts[start : start + _BLOCK_TEXTS]) for start in starts])

    def _block(self, texts: Sequence[str]) -> Bags:
        """Sorted by length and back again, which needs a second copy, so not of all texts at once."""
        order, parts = [], []
        with torch.no_grad():
            for places, chunk in _chunks(texts, self.max_length):
                order.append(places)
                rows, weights = self.rows(chunk)
                parts.append(bags.compress(rows.flatten(1), weights.flatten(1)))
        return bags.join(parts)[np.argsort(np.concatenate(order))]

    def _of_bags(self, texts: Bags) -> tuple[Tensor, Tensor]:
        dropped = texts.without(self.dropout) if self.training and self.dropout else texts
        return dropped.sum(self.deep, sparse=True), texts.sum(self.wide)


def _before(rows: Tensor) -> Tensor:
    """Each place's left neighbour, 0 at the left end."""
    return torch.cat([rows[:, :, :1] * 0, rows[:, :, :-1]], dim=2)


def _normalized(weights: Tensor) -> Tensor:
    """Each text of [N, orders, L] with length 1. The exporter deletes an added 1e-12, so empty became NaN: a clamp."""
    length = weights.square().sum(dim=(1, 2), keepdim=True).sqrt()
    return weights / length.clamp(min=_SMALLEST_NORM)


def _sum(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Σ weight · table[row]: float32 [N, width]; order by order, so that what is looked up stays in the cache."""
    sums = (
        torch.bmm(weights[:, order].unsqueeze(1), functional.embedding(rows[:, order], table)).squeeze(1)
        for order in range(ORDERS)
    )
    return reduce(add, sums)


def _chunks(texts: Sequence[str], max_length: int) -> Iterator[tuple[np.ndarray, Tensor]]:
    """(places, code points) of a few texts of like length at a time, so that little is padding."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    for start in range(0, len(order), _CHUNK_TEXTS):
        places = order[start : start + _CHUNK_TEXTS]
        yield places, torch.from_numpy(code_points([texts[place] for place in places], max_length).copy())
