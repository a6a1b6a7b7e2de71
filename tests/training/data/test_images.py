"""IDX files and NumPy archives → splits, and every file that cannot be used refused by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clipmax.refusal import Refusal
from tests.training import tiny
from training import config
from training.data import sources
from training.data.dataset import Dataset

Change = Callable[[dict[str, tiny.Array]], None]


def _npz(folder: Path, change: Change = lambda _: None, **settings: object) -> Dataset:
    """The tiny digits as an archive, changed, and read again."""
    names = ("x_train", "y_train", "x_test", "y_test")
    arrays = dict(zip(names, tiny.arrays(), strict=True))
    change(arrays)
    path = folder / "digits.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes an array for its flag allow_pickle
    return sources.read(config.NpzSource.model_validate({"source": "npz", "file": path, **settings}))


def _set(name: str, value: float, *place: int) -> Change:
    """One number replaced in an array, which becomes float64 or int64 as the number is."""

    def change(arrays: dict[str, tiny.Array]) -> None:
        array = arrays[name].astype(type(value))
        array[place] = value
        arrays[name] = array

    return change


def _replace(name: str, function: Callable[[tiny.Array], tiny.Array]) -> Change:
    def change(arrays: dict[str, tiny.Array]) -> None:
        arrays[name] = function(arrays[name])

    return change


def test_idx_files_become_three_splits(tmp_path: Path) -> None:
    """Training and validation from the training files, the test files apart, with what they hold untouched."""
    _, dataset = tiny.dataset(tmp_path)
    images, labels, test_images, test_labels = tiny.arrays()
    kept, aside = dataset.train.columns["image"], dataset.validation.columns["image"]
    assert (len(kept) + len(aside), len(dataset.test)) == (tiny.ROWS, tiny.TEST_ROWS)
    assert sorted(map(bytes, [*kept, *aside])) == sorted(map(bytes, images))
    assert np.array_equal(dataset.test.columns["image"], test_images)
    assert np.array_equal(dataset.test.labels, test_labels)
    assert dataset.labels == tuple("0123456789")
    assert dataset.inputs[0].model_dump()["shape"] == (8, 8)
    assert np.bincount(labels).sum() == len(dataset.train) + len(dataset.validation)


def test_files_are_recorded_with_their_checksums(tmp_path: Path) -> None:
    """What the manifest will say the model was trained on."""
    _, dataset = tiny.dataset(tmp_path)
    expected = {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for name in ("train-images", "train-labels", "test-images", "test-labels")
    }
    assert dataset.files == expected


def test_an_archive_gives_the_same_splits_as_the_files(tmp_path: Path) -> None:
    """One split rule for every source."""
    _, expected = tiny.dataset(tmp_path)
    assert _npz(tmp_path, validation=0.2).fingerprint() == expected.fingerprint()


def test_numbers_that_are_no_bytes_bring_their_own_range(tmp_path: Path) -> None:
    """Kept as float32, with the smallest and largest value of the training file as the schema's range."""
    dataset = _npz(tmp_path, _replace("x_train", lambda images: images / 240 - 0.5))
    schema = dataset.inputs[0].model_dump()
    assert (schema["minimum"], schema["maximum"]) == (-0.5, 0.5)
    assert dataset.train.columns["image"].dtype == np.float32


def test_colour_images_are_taken(tmp_path: Path) -> None:
    """[rows, height, width, 3]."""

    def colour(arrays: dict[str, tiny.Array]) -> None:
        for name in ("x_train", "x_test"):
            arrays[name] = np.repeat(arrays[name][..., None], 3, axis=3)

    assert _npz(tmp_path, colour).inputs[0].model_dump()["shape"] == (8, 8, 3)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """By its path."""
    run = tiny.read(tmp_path)
    (tmp_path / "test-labels").unlink()
    with pytest.raises(Refusal, match="No such file") as caught:
        sources.read(run.data)
    assert caught.value.where == str(tmp_path / "test-labels")


def test_a_corrupt_file_is_refused_with_both_checksums(tmp_path: Path) -> None:
    """The expected one and the one found."""
    content = tiny.write(tmp_path).with_name("train-images").read_bytes()
    expected = hashlib.sha256(content).hexdigest()
    run = tiny.read(tmp_path, f"data.sha256.train-images={expected}")
    sources.read(run.data)
    broken = bytes([*content[:-1], content[-1] ^ 1])
    (tmp_path / "train-images").write_bytes(broken)
    with pytest.raises(Refusal) as caught:
        sources.read(run.data)
    refusal = caught.value
    assert (refusal.where, refusal.field) == (str(tmp_path / "train-images"), "sha256")
    assert (refusal.expected, refusal.found) == (expected, hashlib.sha256(broken).hexdigest())


def test_a_checksum_of_no_file_is_refused(tmp_path: Path) -> None:
    """A misspelt name would otherwise switch the check off in silence."""
    run = tiny.read(tmp_path, f"data.sha256.train-imagse={'0' * 64}")
    with pytest.raises(Refusal, match=r"sha256 of train-imagse: expected one of train-images"):
        sources.read(run.data)


@pytest.mark.parametrize("bytes_left", [0, 3, 15, 16, 1000, -1])
def test_a_truncated_idx_file_is_refused(bytes_left: int, tmp_path: Path) -> None:
    """Wherever it ends."""
    run = tiny.read(tmp_path)
    path = tmp_path / "train-images"
    path.write_bytes(path.read_bytes()[:bytes_left])
    with pytest.raises(Refusal) as caught:
        sources.read(run.data)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("change", "field", "expected", "found"),
    [
        (_set("y_test", 10, 5), "label of row 5", "0 to 9", "10"),
        (_set("y_train", -1, 7), "label of row 7", "0 to 9", "-1"),
        (_set("y_train", 10**12, 7), "labels", "class numbers below the 600 rows", "1000000000000 in row 7"),
        (_set("y_train", 1.5, 7), "labels", "a list of class numbers", "float64 [600]"),
        (_set("y_train", 11, 7), "validation", "rows of class 10 on both sides", "0 of 0 set aside"),
        (_set("y_train", 10, 7), "validation", "rows of class 10 on both sides", "0 of 1 set aside"),
        (_replace("y_train", np.zeros_like), "labels", "at least two classes", "1"),
        (_replace("y_test", lambda labels: labels[:, None]), "labels", "200 labels, one an image", "[200, 1]"),
        (_replace("y_test", lambda labels: labels[:-1]), "labels", "200 labels, one an image", "[199]"),
        (_replace("y_train", lambda labels: labels[:-1]), "labels", "600 labels, one an image", "[599]"),
        (_replace("x_test", lambda images: images[:, :-1]), "shape", "[8, 8] as in training", "[7, 8]"),
        (_replace("x_train", lambda images: images[0]), "shape", "[rows, height, width]", "[8, 8]"),
        (_replace("x_train", lambda images: images[..., None]), "shape", "[rows, height, width]", "[600, 8, 8, 1]"),
        (_replace("x_train", lambda images: images[:0]), "shape", "[rows, height, width]", "[0, 8, 8]"),
        (_replace("x_train", lambda images: images[:, :0]), "shape", "[rows, height, width]", "[600, 0, 8]"),
        (_replace("x_train", lambda images: images > 9), "dtype", "numbers", "bool"),
        (_replace("x_train", lambda images: images + 1j), "dtype", "numbers", "complex128"),
        (_set("x_train", np.nan, 13, 4, 2), "row 13", "finite pixels", "NaN, infinity or more than float32"),
        (_set("x_test", -np.inf, 14, 0, 0), "row 14", "finite pixels", "NaN, infinity or more than float32"),
        (_set("x_test", 1e39, 15, 0, 0), "row 15", "finite pixels", "NaN, infinity or more than float32"),
        (lambda arrays: arrays.pop("y_test"), "arrays", "x_train, y_train, x_test, y_test", "no y_test"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(
    change: Change, field: str, expected: str, found: str, tmp_path: Path
) -> None:
    """With the field, what belongs there and what was there."""
    with pytest.raises(Refusal) as caught:
        _npz(tmp_path, change)
    refusal = caught.value
    assert (refusal.where, refusal.field, refusal.found) == (str(tmp_path / "digits.npz"), field, found)
    assert expected in refusal.expected


def test_labels_must_fit_the_words(tmp_path: Path) -> None:
    """A list of words sets the number of classes."""
    with pytest.raises(Refusal, match=r"label of row \d+: expected 0 to 1, found \d"):
        _npz(tmp_path, labels=("zero", "one"))
    with pytest.raises(Refusal, match="labels that differ after Unicode NFC"):
        _npz(tmp_path, labels=(*"012345678", "8"))
    with pytest.raises(Refusal, match=r"rows of class 10 on both sides"):
        _npz(tmp_path, labels=tuple("0123456789X"))


@pytest.mark.parametrize(
    "content", [b"", b"no archive", b"PK\x03\x04 cut", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'shape': (9"]
)
def test_a_file_that_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    """Nothing at all, text, the beginning of a zip file, a single array."""
    path = tmp_path / "digits.npz"
    path.write_bytes(content)
    with pytest.raises(Refusal, match="expected a NumPy archive without objects"):
        sources.read(config.NpzSource(source="npz", file=path))


def test_an_archive_with_objects_is_refused(tmp_path: Path) -> None:
    """They would have to be unpickled, and a pickle runs code."""
    with pytest.raises(Refusal, match="NumPy archive without objects"):
        _npz(tmp_path, _replace("y_test", lambda labels: labels.astype(object)))


def test_damage_anywhere_in_an_archive_is_refused_or_harmless(tmp_path: Path) -> None:
    """Never another exception: a flipped byte breaks the archive, or lies where zip does not look."""
    expected = _npz(tmp_path).fingerprint()
    path = tmp_path / "digits.npz"
    intact, random = path.read_bytes(), np.random.default_rng(0)
    for place in [*range(120), *random.integers(0, len(intact), 60).tolist(), *range(len(intact) - 60, len(intact))]:
        path.write_bytes(intact[:place] + bytes([intact[place] ^ 0xFF]) + intact[place + 1 :])
        try:
            found = sources.read(config.NpzSource(source="npz", file=path)).fingerprint()
        except Refusal:
            continue
        assert found == expected
