"""Every Unicode code point → the character that the n-grams see, and its class, as one table for the graph.

A code point becomes one character: NFKC, case folded, accents taken off. Where that is several characters the first
is kept (ﬁ → f, ß → s), on both sides alike. The table is part of the exported graph, so a newer Python or ICU
changes no answer.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
import numpy.typing as npt

CODE_POINTS = 0x110000
PAGE = 256
CLASS_STEP = 1 << 24
"""An entry is class · 2^24 + hash, so that comparisons alone tell the class."""

_REPLACEMENT = 0xFFFD
_MASK = (1 << 64) - 1

Ranges = tuple[tuple[int, int], ...]
# Scripts written without blanks between words: each letter is a word of its own.
_STAND_ALONE: Ranges = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # radicals, kana, Bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_ACCENTS: Ranges = ((0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF))
_VARIATION_SELECTORS: Ranges = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF), (0x180B, 0x180F))


class CharacterClass(IntEnum):
    """What a character does to the words around it."""

    BLANK = 0
    """Ends words and n-grams: blanks, controls, NUL, and the padding."""
    WORD = 1
    """Joins its neighbours to a word: letters, digits, marks."""
    STAND_ALONE = 2
    """A word of its own: Han, kana, Thai, Lao, Khmer and Myanmar letters, emoji, what Unicode does not assign."""
    PUNCTUATION = 3
    """Ends words, but is part of the n-grams of characters."""
    DROPPED = 4
    """Taken out: zero-width and direction marks, soft hyphen, variation selectors, accents."""


@dataclass(frozen=True, slots=True)
class FoldTable:
    """Two levels, because most pages of 256 code points are equal.

    Args:
        pages: int32 [4352], the page of `entries` for code point // 256.
        entries: int32 [pages · 256], class · 2^24 + hash of the folded character; 0 for a blank.
    """

    pages: npt.NDArray[np.int32]
    entries: npt.NDArray[np.int32]


@cache
def fold_table() -> FoldTable:
    """The table of this Python's Unicode data."""
    entries = np.full(CODE_POINTS, _entry(_REPLACEMENT, CharacterClass.STAND_ALONE), dtype=np.int32)
    for code_point in range(CODE_POINTS):
        if unicodedata.category(chr(code_point)) not in {"Cn", "Co", "Cs"}:
            entries[code_point] = _entry(*fold(code_point))
    distinct, pages = np.unique(entries.reshape(-1, PAGE), axis=0, return_inverse=True)
    return FoldTable(pages.reshape(-1).astype(np.int32), distinct.reshape(-1))


def fold(code_point: int) -> tuple[int, CharacterClass]:
    """The folded code point and its class; lone surrogates and what is not assigned become U+FFFD."""
    character = chr(code_point)
    if unicodedata.category(character) in {"Cn", "Co", "Cs"}:
        return _REPLACEMENT, CharacterClass.STAND_ALONE
    if _is_dropped(character):
        return 0, CharacterClass.DROPPED
    folded = _folded(character)
    kind = _class_of(folded)
    return (0 if kind is CharacterClass.BLANK else ord(folded)), kind


def _folded(character: str) -> str:
    """One character; accents go only where taking them apart and putting the rest together again allows it."""
    compatible = unicodedata.normalize("NFKC", character).casefold()
    parts = unicodedata.normalize("NFD", compatible)
    bare = "".join(part for part in parts if not _within(ord(part), _ACCENTS))
    return (unicodedata.normalize("NFKC", bare) or character)[0]


def _is_dropped(character: str) -> bool:
    code_point = ord(character)
    return (
        unicodedata.category(character) == "Cf"
        or _within(code_point, _ACCENTS)
        or _within(code_point, _VARIATION_SELECTORS)
    )


def _class_of(character: str) -> CharacterClass:
    category = unicodedata.category(character)
    if category[0] == "Z" or category == "Cc":
        return CharacterClass.BLANK
    if category == "So" or (category[0] in "LM" and _within(ord(character), _STAND_ALONE)):
        return CharacterClass.STAND_ALONE
    return CharacterClass.WORD if category[0] in "LMN" else CharacterClass.PUNCTUATION


def _entry(folded: int, kind: CharacterClass) -> int:
    if kind is CharacterClass.BLANK:
        return 0
    return int(kind) * CLASS_STEP + _mixed(folded) % CLASS_STEP


def _mixed(value: int) -> int:
    """splitmix64's finalizer (Steele et al. 2014): neighbours in Unicode are no neighbours here.

    It has to be strong, because in the graph n-grams are linear in it: with a multiplicative hash alone, all
    two-letter steps of equal distance would fall together.
    """
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


def _within(code_point: int, ranges: Ranges) -> bool:
    return any(first <= code_point <= last for first, last in ranges)
