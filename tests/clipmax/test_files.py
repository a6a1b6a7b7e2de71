"""A file and what the manifest says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipmax import files
from clipmax.refusal import Refusal

CONTENT = b"weights"


def test_the_file_that_was_recorded_is_taken(tmp_path: Path) -> None:
    """Read whole, or only looked through."""
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    assert files.read(path, files.record(CONTENT)) == CONTENT
    files.verify(path, files.record(CONTENT))


@pytest.mark.parametrize(
    ("content", "field"), [(b"weight", "size"), (b"weighty", "sha256"), (None, "file")], ids=["short", "other", "none"]
)
def test_another_file_is_refused(tmp_path: Path, content: bytes | None, field: str) -> None:
    """By both ways alike."""
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    for check in (files.read, files.verify):
        with pytest.raises(Refusal) as refusal:
            check(path, files.record(CONTENT))
        assert refusal.value.field == field
