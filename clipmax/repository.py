"""The models folder `<root>/<name>/<version>/`: list versions, check hashes, publish atomically.

A version becomes visible by one rename and never changes afterwards, so a reader needs no lock. A folder
whose name is not a version number (a temporary one, a half copy under another name) does not exist for it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clipmax import files
from clipmax.manifest import NAME_PATTERN, Manifest

_VERSION = re.compile(r"^[1-9][0-9]{0,8}$")
TEMPORARY_PREFIX = ".publishing-"


class Repository:
    """A models folder on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Model names that have at least one version, sorted."""
        if not self.root.is_dir():
            return []
        candidates = (entry.name for entry in self.root.iterdir() if entry.is_dir())
        return sorted(name for name in candidates if re.match(NAME_PATTERN, name) and self.versions(name))

    def versions(self, name: str) -> list[int]:
        """The version numbers of a model, ascending. A listed version is not yet checked."""
        folder = self.root / name
        if not folder.is_dir():
            return []
        return sorted(int(entry.name) for entry in folder.iterdir() if _VERSION.match(entry.name) and entry.is_dir())

    def folder(self, name: str, version: int) -> Path:
        return self.root / name / str(version)

    def publish(self, name: str, write: Callable[[Path, int], None]) -> Path:
        """Create the next version: `write(temporary_folder, version)` fills it, a rename makes it visible.

        Every file and the folder are fsynced before the rename. Whatever `write` raises (a full disk, a failed
        check, Ctrl-C) removes the temporary folder and leaves every published version as it was.

        Returns:
            The folder of the new version.
        """
        parent = self.root / name
        parent.mkdir(parents=True, exist_ok=True)
        with _locked(parent):
            remove_leftovers(parent)
            version = max(self.versions(name), default=0) + 1
            return write_atomically(self.folder(name, version), lambda folder: write(folder, version))


def write_atomically(target: Path, write: Callable[[Path], None]) -> Path:
    """Create the folder `target` complete or not at all: `write(temporary)`, fsync, rename.

    Whatever `write` raises removes the temporary folder; a process that is killed leaves it, hidden and unlisted.
    """
    temporary = target.parent / f"{TEMPORARY_PREFIX}{target.name}-{secrets.token_hex(4)}"
    temporary.mkdir(parents=True)
    try:
        write(temporary)
        _sync_tree(temporary)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(target.parent)
    return target


def read_verified(folder: Path, manifest: Manifest, file: str) -> bytes:
    """The bytes of one file of a version, exactly those that the manifest's hash covers.

    Raises:
        Refusal: missing, of another size, or with another SHA-256.
    """
    return files.read(folder / file, manifest.files[file])


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Check every file that the manifest lists."""
    for file, record in manifest.files.items():
        files.verify(folder / file, record)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One publisher a model at a time; the lock goes with the process, however it ends."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_leftovers(folder: Path) -> None:
    """What a killed writer left in a folder. Safe under its lock: a living writer would hold it."""
    for entry in folder.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(entry, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
