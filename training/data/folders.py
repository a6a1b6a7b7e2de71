"""Folders of PNG and JPEG images, one a class → a split data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from clipmax import images
from clipmax.inputs import ImageInput
from clipmax.labels import fault as label_fault
from clipmax.problems import Problem
from clipmax.refusal import Refusal
from training.config import FolderSource
from training.data import splits
from training.data.dataset import Column, Dataset, Indices, Split
from training.data.images import INPUT_NAME

_SUFFIXES = (".png", ".jpg", ".jpeg")


def read(source: FolderSource) -> Dataset:
    """Read, check and split. Raises Refusal, with the file's name, for whatever cannot be used."""
    words = source.labels or _classes(source.train)
    fault = label_fault(words)
    if fault:
        raise Refusal(source.train, "folders", expected=fault, found="these names")
    size = _size(_files(source.train, words)[0][0])
    train, digest = _split(source, source.train, words, size)
    files = {source.train.name: digest}
    if source.test is not None:
        test, files[source.test.name] = _split(source, source.test, words, size)
    else:
        train, test = _divide(source, train, source.test_share, words)
    train, validation = _divide(source, train, source.validation, words)
    inputs = (ImageInput(name=INPUT_NAME, shape=train.columns[INPUT_NAME].shape[1:]),)
    return Dataset(inputs=inputs, labels=words, train=train, validation=validation, test=test, files=files)


def image_files(folder: Path) -> list[Path]:
    """All images of all classes. Raises Refusal where there are fewer than two classes, or a class without images."""
    return [path for path, _ in _files(folder, _classes(folder))]


def _classes(folder: Path) -> tuple[str, ...]:
    """The names of the subfolders, in order."""
    try:
        words = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    except OSError as error:
        found = error.strerror or "an error"
        raise Refusal(folder, "folder", expected="a readable folder", found=found) from error
    if len(words) < 2:
        raise Refusal(folder, "folders", expected="at least two, one a class", found=str(len(words)))
    return words


def _files(folder: Path, words: Sequence[str]) -> list[tuple[Path, int]]:
    """(image file, class), by class and name."""
    found: list[tuple[Path, int]] = []
    for label, word in enumerate(words):
        place = folder / word
        here = sorted(path for path in place.glob("*") if path.suffix.lower() in _SUFFIXES) if place.is_dir() else []
        if not here:
            raise Refusal(place, "images", expected=f"files that end in {', '.join(_SUFFIXES)}", found="none")
        found += [(path, label) for path in here]
    return found


def _size(path: Path) -> tuple[int, int]:
    """Height and width of the first image: what all others must have."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise Refusal(path, "image", expected="a readable PNG or JPEG", found=str(error)) from error


def _split(source: FolderSource, folder: Path, words: Sequence[str], size: tuple[int, int]) -> tuple[Split, str]:
    """All images of a folder, and one SHA-256 over the names and bytes of their files."""
    files = _files(folder, words)
    digest = hashlib.sha256()
    pixels: list[Column] = []
    for path, _ in files:
        content = _content(path)
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
        digest.update(content)
        pixels.append(_decode(path, content, size, source))
    labels: Indices = np.array([label for _, label in files], dtype=np.int64)
    return Split({INPUT_NAME: np.stack(pixels)}, labels), digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refusal(path, "file", expected="a readable file", found=error.strerror or "an error") from error


def _decode(path: Path, content: bytes, size: tuple[int, int], source: FolderSource) -> Column:
    try:
        return images.decode(content, height=size[0], width=size[1], color=source.color)
    except Problem as problem:
        expected = f"a PNG or JPEG of {size[1]}×{size[0]} pixels, as the first image has"
        raise Refusal(path, "image", expected=expected, found=problem.detail) from problem


def _divide(source: FolderSource, split: Split, share: float, words: Sequence[str]) -> tuple[Split, Split]:
    kept, aside = splits.stratified(split.labels, share, source.split_seed)
    absent = np.setdiff1d(np.arange(len(words)), split.labels[aside])
    if len(absent):
        place = source.train / words[int(absent[0])]
        raise Refusal(place, "images", expected="enough for every split", found="too few")
    return split.take(kept), split.take(aside)
