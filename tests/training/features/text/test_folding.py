"""The fold table against Unicode's own functions, over all code points."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from training.features.text.folding import CLASS_STEP, CODE_POINTS, PAGE, CharacterClass, fold, fold_table


def _entry(code_point: int) -> int:
    table = fold_table()
    return int(table.entries[table.pages[code_point // PAGE] * PAGE + code_point % PAGE])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("É", "e"),
        ("ﬁ", "f"),
        ("ß", "s"),
        ("\uff21", "a"),
        ("Ω", "\u03c9"),
        ("Ⅷ", "v"),
        ("\u2460", "1"),
        ("\uff76", "カ"),
    ],
)
def test_what_looks_alike_is_alike(first: str, second: str) -> None:
    """Case, accents, width and compatibility forms are folded; of several characters the first stays."""
    assert _entry(ord(first)) == _entry(ord(second))


@pytest.mark.parametrize(("first", "second"), [("か", "が"), ("工", "土"), ("a", "b"), ("и", "к"), ("1", "2")])
def test_what_differs_stays_different(first: str, second: str) -> None:
    """Kana keep their voicing; letters, digits and Han are themselves."""
    assert _entry(ord(first)) != _entry(ord(second))


@pytest.mark.parametrize(
    ("character", "kind"),
    [
        (" ", CharacterClass.BLANK),
        ("\0", CharacterClass.BLANK),
        ("\n", CharacterClass.BLANK),
        ("\u3000", CharacterClass.BLANK),
        ("x", CharacterClass.WORD),
        ("7", CharacterClass.WORD),
        ("ж", CharacterClass.WORD),
        ("한", CharacterClass.WORD),
        ("工", CharacterClass.STAND_ALONE),
        ("の", CharacterClass.STAND_ALONE),
        ("ไ", CharacterClass.STAND_ALONE),
        ("\U0001f600", CharacterClass.STAND_ALONE),
        ("\ud800", CharacterClass.STAND_ALONE),
        ("\U0010ffff", CharacterClass.STAND_ALONE),
        (",", CharacterClass.PUNCTUATION),
        ("$", CharacterClass.PUNCTUATION),
        ("\u200b", CharacterClass.DROPPED),
        ("\u200d", CharacterClass.DROPPED),
        ("\u00ad", CharacterClass.DROPPED),
        ("\u202e", CharacterClass.DROPPED),
        ("\ufe0f", CharacterClass.DROPPED),
        ("\u0301", CharacterClass.DROPPED),
    ],
)
def test_each_character_has_its_class(character: str, kind: CharacterClass) -> None:
    """What separates, joins, stands alone, and goes."""
    assert fold(ord(character))[1] is kind
    assert _entry(ord(character)) // CLASS_STEP == kind


def test_folding_a_folded_character_changes_nothing() -> None:
    """Idempotent over all of Unicode, except the rare one whose first part is folded again."""
    changed = 0
    for code_point in range(0, CODE_POINTS, 7):
        folded, kind = fold(code_point)
        if kind is not CharacterClass.DROPPED and folded:
            changed += fold(folded) != (folded, kind)
    assert changed == 0


def test_a_letter_folds_as_casefold_says() -> None:
    """Where NFKC, casefold and the loss of accents leave one character, that is it."""
    for code_point in range(0x20, 0x3000):
        character = chr(code_point)
        expected = unicodedata.normalize("NFKC", character).casefold()
        if (
            len(expected) == 1
            and unicodedata.decomposition(expected) == ""
            and unicodedata.category(character)[0] == "L"
        ):
            assert fold(code_point)[0] == ord(expected)


def test_the_table_is_small_and_whole() -> None:
    """Every page exists, hashes stay below 2^24, and what Unicode does not assign is the replacement character."""
    table = fold_table()
    assert table.pages.shape == (CODE_POINTS // PAGE,)
    assert table.pages.max() + 1 == len(table.entries) // PAGE
    assert table.entries.nbytes < 1_000_000
    assert table.entries.min() == 0
    assert int(np.max(table.entries)) < (CharacterClass.DROPPED + 1) * CLASS_STEP
    assert _entry(0xD800) == _entry(0xFFFD) == _entry(0x10FFFF)
