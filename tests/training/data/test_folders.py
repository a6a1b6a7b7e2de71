"""Folders of images as split data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipmax.refusal import Refusal
from training.config import FolderSource
from training.data import folders
from training.data.dataset import Dataset


def _write(
    folder: Path, *, count: int = 10, size: tuple[int, int] = (6, 4), names: tuple[str, ...] = ("猫", "dog")
) -> Path:
    """Images of noise, PNG and JPEG in turn, `count` for each class."""
    random = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.{'png' if number % 2 else 'jpg'}")
    return folder


def _read(folder: Path, **settings: object) -> Dataset:
    return folders.read(
        FolderSource.model_validate({"source": "folders", "train": folder, "validation": 0.2, **settings})
    )


@pytest.mark.parametrize(("color", "shape"), [("gray", (4, 6)), ("rgb", (4, 6, 3))])
def test_folders_are_classes_and_files_are_rows(color: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """As uint8 of the images' own size, every class in every split."""
    dataset = _read(_write(tmp_path / "train"), color=color)
    assert dataset.labels == ("dog", "猫")
    assert dataset.inputs[0].shape == shape
    assert [len(split) for split in dataset.splits.values()] == [12, 4, 4]
    assert dataset.train.columns["image"].dtype == np.uint8
    assert dataset.train.columns["image"].shape[1:] == shape


def test_a_folder_for_the_test_is_kept_apart(tmp_path: Path) -> None:
    """And its checksum stands beside that of the training folder."""
    dataset = _read(_write(tmp_path / "train"), test=_write(tmp_path / "test", count=3))
    assert len(dataset.test) == 6
    assert set(dataset.files) == {"train", "test"}


def _another_size(folder: Path) -> Path:
    path = folder / "dog" / "5.png"
    Image.new("RGB", (7, 4)).save(path)
    return path


def _no_image(folder: Path) -> Path:
    path = folder / "dog" / "5.png"
    path.write_bytes(b"no image")
    return path


def _empty_class(folder: Path) -> Path:
    path = folder / "empty"
    path.mkdir()
    return path


def _rare_class(folder: Path) -> Path:
    path = folder / "rare"
    path.mkdir()
    Image.new("RGB", (6, 4)).save(path / "only.png")
    return path


@pytest.mark.parametrize(
    ("spoil", "expected", "found"),
    [
        (_another_size, "6×4 pixels, as the first image", "7×4"),
        (_no_image, "a PNG or JPEG", "not a readable"),
        (_empty_class, "files that end in", "none"),
        (_rare_class, "enough for every split", "too few"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(
    spoil: Callable[[Path], Path], expected: str, found: str, tmp_path: Path
) -> None:
    """The file or folder, what belongs there and what was there."""
    path = spoil(_write(tmp_path))
    with pytest.raises(Refusal) as caught:
        _read(tmp_path)
    assert caught.value.where == str(path)
    assert expected in caught.value.expected
    assert found in caught.value.found


def test_one_folder_or_none_is_refused(tmp_path: Path) -> None:
    """There is nothing to tell apart."""
    with pytest.raises(Refusal, match="at least two, one a class"):
        _read(_write(tmp_path / "train", names=("dog",)))
    with pytest.raises(Refusal, match="a readable folder"):
        _read(tmp_path / "nowhere")
