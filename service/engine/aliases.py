"""The file `aliases.json` of a model → names for its versions, such as {"stable": 3, "canary": 4}."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from clipmax.refusal import Refusal, shorten

FILE = "aliases.json"
BARE = "default"
"""The alias that also answers where no version is named."""

PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
"""Begins with a letter, so no alias is taken for a number."""

_LARGEST_BYTES = 64 * 1024


def read(path: Path) -> dict[str, int]:
    """Alias → version; nothing where there is no such file.

    Raises:
        Refusal: it cannot be read, or is not one object of names and version numbers.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Refusal(path, "file", expected="a readable file", found=error.strerror or "an error") from error
    if len(content) > _LARGEST_BYTES:
        raise Refusal(path, "size", expected=f"at most {_LARGEST_BYTES} bytes", found=f"{len(content)}")
    try:
        pairs = json.loads(content, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise Refusal(path, "document", expected="JSON", found="other bytes") from error
    return _checked(path, pairs)


class _Pairs(list[tuple[str, Any]]):
    """An object's members as they stand, so that a repeated name is seen."""


def _checked(path: Path, pairs: Any) -> dict[str, int]:
    if not isinstance(pairs, _Pairs):
        raise Refusal(path, "document", expected="an object", found=type(pairs).__name__)
    found: dict[str, int] = {}
    for name, number in pairs:
        if PATTERN.fullmatch(name) is None or name in found:
            expected = "a letter, then up to 63 of letters, digits, '.', '_', '-', each name once"
            raise Refusal(path, "alias", expected=expected, found=shorten(name))
        if type(number) is not int or number < 1:
            raise Refusal(path, name, expected="a version number", found=shorten(number))
        found[name] = number
    return found
