"""Files and folders → stamps, which differ once something was changed."""

from __future__ import annotations

import os
from pathlib import Path

Stamp = tuple[object, ...]


def of_file(path: Path) -> Stamp | None:
    """Of what a path leads to, links followed; None where there is nothing that can be looked at.

    A mounted Kubernetes secret is a link that is put to another folder, so the inode is part of it.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def of_folder(path: Path) -> Stamp | None:
    """Of a folder and everything directly in it; None where there is none."""
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:
        return None
    return of_file(path), *((name, of_file(path / name)) for name in names)
