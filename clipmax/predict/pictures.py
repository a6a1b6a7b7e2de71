"""PNG and JPEG files, and folders of them → batches of images; the service decodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from clipmax.predict.batch import Batch
from clipmax.refusal import Refusal

SUFFIXES = (".png", ".jpg", ".jpeg")
_ROWS = 32
"""Of one batch, for files are larger than rows of numbers."""


def is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES or path.is_dir()


def batches(paths: Sequence[Path]) -> Iterator[Batch]:
    """One row a file; of a folder all images in it and below it, by name.

    Raises:
        Refusal: a folder without images.
    """
    files = [file for path in paths for file in _files(path)]
    for start in range(0, len(files), _ROWS):
        part = files[start : start + _ROWS]
        numbers = list(range(start, start + len(part)))
        yield Batch(numbers, part, files=[str(file) for file in part], done=start / len(files))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        raise Refusal(path, "images", expected=f"files that end in {', '.join(SUFFIXES)}", found="none")
    return found
