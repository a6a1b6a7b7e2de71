"""A file of a version's folder and what the manifest says of it → its bytes, or that they are the right ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from clipmax.refusal import Refusal

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FileRecord(BaseModel):
    """One file of the version's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sha256: Sha256
    bytes: int = Field(ge=0)


def record(content: bytes) -> FileRecord:
    """What there is to say of this content."""
    return FileRecord(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def records(folder: Path) -> dict[str, FileRecord]:
    """The same of every file of a folder, by name; a file may be larger than memory."""
    return {path.name: _measure(path) for path in sorted(folder.iterdir())}


def read(path: Path, record: FileRecord) -> bytes:
    """The bytes of a file, exactly those that its record is about.

    Raises:
        Refusal: missing, of another size, or with another SHA-256.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    _check(path, record, len(content), hashlib.sha256(content).hexdigest())
    return content


def verify(path: Path, record: FileRecord) -> None:
    """The same check of a file that may be larger than memory.

    Raises:
        Refusal: missing, of another size, or with another SHA-256.
    """
    try:
        found = _measure(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    _check(path, record, found.bytes, found.sha256)


def _measure(path: Path) -> FileRecord:
    with path.open("rb") as file:
        return FileRecord(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=file.tell())


def _check(path: Path, record: FileRecord, size: int, digest: str) -> None:
    if size != record.bytes:
        raise Refusal(path, "size", expected=f"{record.bytes} bytes", found=f"{size}")
    if digest != record.sha256:
        raise Refusal(path, "sha256", expected=record.sha256, found=digest)


def _unreadable(path: Path, error: OSError) -> Refusal:
    return Refusal(path, "file", expected="a readable file", found=error.strerror or "an error")
