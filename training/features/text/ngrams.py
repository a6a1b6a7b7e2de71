"""Code points → buckets of words, word pairs and character n-grams: integer arithmetic that ONNX repeats exactly."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.features.text.folding import CLASS_STEP, CODE_POINTS, PAGE, CharacterClass, fold_table

BUCKETS = 1 << 20
NO_NGRAM = BUCKETS
"""The bucket of places where no n-gram starts."""

CHARACTER_ORDERS = (1, 2, 3, 4)
WORD_ORDERS = (1, 2)
ORDERS = len(WORD_ORDERS) + len(CHARACTER_ORDERS)
# Odd, so that a product loses nothing modulo 2^20; 24 bits, so that every sum stays below 2^55.
_ODD = (10_368_889, 14_057_491, 9_600_347, 12_582_917, 15_485_863, 11_400_713)
_WORD_MODULUS, _LETTER_MODULUS = 16_777_213, (1 << 31) - 1
_CHARACTER_SALT, _WORD_SALT = 7_919, 77


class Ngrams(nn.Module):
    """Folds, takes dropped characters out, and hashes every n-gram of the text into one of 2^20 buckets.

    Words and pairs of words; 1 to 4 characters that no blank parts. All values stay below 2^55 in int64, so torch
    and every ONNX runtime agree bit for bit. Collisions are those of an ideal hash.

    Shape:
        - Input: int32 [N, L], code points, zero padded; any value, what is no code point counts as U+FFFD
        - Output: int64 [N, 6, L], the buckets of words, word pairs, 1, 2, 3 and 4 characters, `NO_NGRAM` elsewhere
    """

    pages: Tensor
    entries: Tensor

    def __init__(self) -> None:
        super().__init__()
        table = fold_table()
        self.register_buffer("pages", torch.from_numpy(table.pages).unsqueeze(1), persistent=False)
        self.register_buffer("entries", torch.from_numpy(table.entries).unsqueeze(1), persistent=False)

    def forward(self, code_points: Tensor) -> Tensor:
        characters = _without_dropped(self._folded(code_points))
        return torch.stack([*_of_words(characters), *_of_characters(characters)], dim=1)

    def _folded(self, code_points: Tensor) -> Tensor:
        """int64 [N, L], class · 2^24 + hash. Not `table[index]`, which becomes GatherND; not `>>` or `//`."""
        known = code_points.clamp(-1, CODE_POINTS - 1)
        valid = torch.where(known < 0, CODE_POINTS - 1, known)
        low = valid % PAGE
        page = ((valid - low).to(torch.float32) * (1.0 / PAGE)).to(torch.int32)  # exact: both are powers of two
        place = functional.embedding(page, self.pages).squeeze(-1) * PAGE + low
        return functional.embedding(place, self.entries).squeeze(-1).to(torch.int64)


def _without_dropped(characters: Tensor) -> Tensor:
    """Close the gaps; what is dropped goes to one place behind the end, which is cut off."""
    length = characters.shape[1]
    kept = characters < CharacterClass.DROPPED * CLASS_STEP
    place = torch.where(kept, torch.cumsum(kept.to(torch.int64), dim=1) - 1, length)
    room = torch.cat([characters, characters[:, :1]], dim=1) * 0
    return room.scatter(1, place, characters)[:, :length]


def _of_characters(characters: Tensor) -> list[Tensor]:
    """int64 [N, L] for each order: the window that starts here, if it ends before a blank and before the end."""
    length = characters.shape[1]
    blank = characters[:, :1] * 0
    padded = torch.cat([characters, *[blank] * (CHARACTER_ORDERS[-1] - 1)], dim=1)
    buckets, total = [], torch.zeros_like(characters)
    whole = torch.ones_like(characters, dtype=torch.bool)
    for order in CHARACTER_ORDERS:
        character = padded[:, order - 1 : order - 1 + length]
        whole = whole & (character > 0)
        total = total + character * _ODD[order - 1]
        buckets.append(torch.where(whole, (total + _CHARACTER_SALT * order) % BUCKETS, NO_NGRAM))
    return buckets


def _of_words(characters: Tensor) -> list[Tensor]:
    """int64 [N, L] for words and for pairs, the k-th word at place k."""
    words = _words(characters)
    following = torch.cat([words[:, 1:], words[:, :1] * 0], dim=1)
    single = torch.where(words > 0, (words * _ODD[0] + _WORD_SALT) % BUCKETS, NO_NGRAM)
    pair = (words * _ODD[0] + following * _ODD[1] + 2 * _WORD_SALT) % BUCKETS
    return [single[:, :-1], torch.where(following > 0, pair, NO_NGRAM)[:, :-1]]


def _words(characters: Tensor) -> Tensor:
    """int64 [N, L + 1]: a hash > 0 of the k-th word at place k, 0 behind the last.

    A word's hash is the sum over its letters of a hash of letter, left and right neighbour: a sum can be scattered.
    The square is what makes order count: without it the sum would be linear, and anagrams nearly equal.
    """
    length = characters.shape[1]
    alone = (characters >= CharacterClass.STAND_ALONE * CLASS_STEP) & (
        characters < CharacterClass.PUNCTUATION * CLASS_STEP
    )
    joins = (characters > 0) & (characters < CharacterClass.STAND_ALONE * CLASS_STEP)
    letters = torch.where(joins, characters, 0)
    blank = letters[:, :1] * 0
    padded = torch.cat([blank, letters, blank], dim=1)
    left, right = padded[:, :length], padded[:, 2 : 2 + length]
    starts = alone | (joins & (left == 0))
    member = alone | joins
    own = torch.where(alone, characters, letters * _ODD[0] + left * _ODD[1] + right * _ODD[2]) % _WORD_MODULUS
    index = torch.where(member, torch.cumsum(starts.to(torch.int64), dim=1) - 1, length)
    hashed = torch.where(member, own * own % _LETTER_MODULUS + 1, 0)
    room = torch.cat([hashed, blank], dim=1) * 0
    sums = room.scatter_add(1, index, hashed)
    return torch.where(sums > 0, sums % _WORD_MODULUS + 1, 0)
