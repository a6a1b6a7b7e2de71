"""Arrays of images with class numbers, from the MNIST family's IDX files or a NumPy archive → a split data set."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from clipmax import idx
from clipmax.inputs import ImageInput
from clipmax.refusal import Refusal
from training.config import IdxSource, NpzSource
from training.data.dataset import (
    Column,
    Dataset,
    Split,
    check_are_numbers,
    check_labels,
    check_pixels,
    checksums,
    hold_out,
)

INPUT_NAME = "image"
_NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)
"""What zipfile and numpy raise for a file that is broken, encrypted, or promises more than memory holds."""


def read_idx(source: IdxSource) -> Dataset:
    """The four files of the MNIST family. Raises Refusal for whatever cannot be used."""
    paths = (source.train_images, source.train_labels, source.test_images, source.test_labels)
    files = checksums(paths, source.sha256)
    return _dataset(source, files, [(path, idx.read(path)) for path in paths])


def read_npz(source: NpzSource) -> Dataset:
    """One archive with x_train, y_train, x_test, y_test. Raises Refusal for whatever cannot be used."""
    files = checksums([source.file], source.sha256)
    try:
        with zipfile.ZipFile(source.file) as archive:
            arrays = [_member(archive, source.file, name) for name in _NPZ_ARRAYS]
    except _UNREADABLE as error:
        raise Refusal(source.file, "file", expected="a NumPy archive without objects", found=str(error)) from error
    return _dataset(source, files, [(source.file, array) for array in arrays])


def _member(archive: zipfile.ZipFile, path: Path, name: str) -> Column:
    if f"{name}.npy" not in archive.namelist():
        raise Refusal(path, "arrays", expected=", ".join(_NPZ_ARRAYS), found=f"no {name}")
    with archive.open(f"{name}.npy") as member:
        array: Column = np.lib.format.read_array(member, allow_pickle=False)
    return array


def _dataset(source: IdxSource | NpzSource, files: Mapping[str, str], arrays: Sequence[tuple[Path, Column]]) -> Dataset:
    """From images and labels of training, then of test, each with the file it comes from."""
    train_images, train_labels, test_images, test_labels = arrays
    words = source.labels or _numbers(*train_labels)
    learn = _split(train_images, train_labels, words)
    test = _split(test_images, test_labels, words)
    shape = learn.columns[INPUT_NAME].shape[1:]
    if test.columns[INPUT_NAME].shape[1:] != shape:
        found = str(list(test.columns[INPUT_NAME].shape[1:]))
        raise Refusal(test_images[0], "shape", expected=f"{list(shape)} as in training", found=found)
    kept, aside = hold_out(
        learn.labels, source.validation, source.split_seed, classes=len(words), where=train_labels[0]
    )
    return Dataset(
        inputs=(_schema(learn.columns[INPUT_NAME]),),
        labels=words,
        train=learn.take(kept),
        validation=learn.take(aside),
        test=test,
        files=files,
    )


def _numbers(path: Path, labels: Column) -> tuple[str, ...]:
    """0, 1, … up to the largest label: the words where the configuration gives none."""
    check_are_numbers(labels, where=path)
    if not len(labels):
        raise Refusal(path, "labels", expected="a list of class numbers", found="an empty one")
    if labels.max() >= len(labels):  # before a list of that length is made: every class needs rows
        found = f"{labels.max()} in row {labels.argmax()}"
        raise Refusal(path, "labels", expected=f"class numbers below the {len(labels)} rows", found=found)
    return tuple(str(number) for number in range(int(labels.max()) + 1))


def _split(images: tuple[Path, Column], labels: tuple[Path, Column], words: tuple[str, ...]) -> Split:
    check_pixels(images[1], where=images[0])
    if labels[1].shape != (len(images[1]),):
        expected = f"{len(images[1])} labels, one an image"
        raise Refusal(labels[0], "labels", expected=expected, found=str(list(labels[1].shape)))
    return Split({INPUT_NAME: _compact(images[1])}, check_labels(labels[1], words, where=labels[0]))


def _schema(images: Column) -> ImageInput:
    """Bytes range over 0..255; numbers of another type over what the training files hold."""
    if images.dtype == np.uint8:
        return ImageInput(name=INPUT_NAME, shape=images.shape[1:])
    return ImageInput(name=INPUT_NAME, shape=images.shape[1:], minimum=float(images.min()), maximum=float(images.max()))


def _compact(images: Column) -> Column:
    """uint8 as it is, everything else as the float32 that the graph takes."""
    return images if images.dtype == np.uint8 else images.astype(np.float32)
