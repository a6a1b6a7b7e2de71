"""The alias file, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipmax.refusal import Refusal
from service.engine import aliases


def test_no_file_means_no_aliases(tmp_path: Path) -> None:
    """Nobody needs one."""
    assert aliases.read(tmp_path / aliases.FILE) == {}


def test_names_for_numbers(tmp_path: Path) -> None:
    """As many as there are."""
    path = tmp_path / aliases.FILE
    path.write_text('{"stable": 3, "canary-2.x": 4}')
    assert aliases.read(path) == {"stable": 3, "canary-2.x": 4}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'"stable"',
        b'{"stable": 3',
        b'{"stable": "3"}',
        b'{"stable": true}',
        b'{"stable": 0}',
        b'{"stable": {"version": 3}}',
        b'{"stable": 1, "stable": 2}',
        b'{"3": 3}',
        b'{"a/b": 3}',
        b'{"": 3}',
        b'{"\xff": 3}',
        b'{"a": 1}' + b" " * 70_000,
        b"[" * 60_000,
    ],
    ids=range(15),
)
def test_what_is_no_list_of_names_is_refused(tmp_path: Path, content: bytes) -> None:
    """By the name of the file."""
    path = tmp_path / aliases.FILE
    path.write_bytes(content)
    with pytest.raises(Refusal, match=aliases.FILE):
        aliases.read(path)
