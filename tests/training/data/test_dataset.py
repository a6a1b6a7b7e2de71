"""Splits that never mix, and a fingerprint that sees every byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmax.refusal import Refusal
from tests.training import tiny
from training.data import sources
from training.data.dataset import hold_out

WHERE = Path("labels")


@given(
    counts=st.lists(st.integers(10, 60), min_size=2, max_size=6),
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**31),
)
def test_a_split_is_stratified_and_disjoint(counts: list[int], share: float, seed: int) -> None:
    """Every row on exactly one side, of each class the same share."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    kept, aside = hold_out(labels, share, seed, classes=len(counts), where=WHERE)
    assert np.array_equal(np.sort(np.concatenate([kept, aside])), np.arange(len(labels)))
    assert np.bincount(labels[aside]).tolist() == [round(share * count) for count in counts]
    assert np.all(np.diff(kept) > 0)
    assert np.all(np.diff(aside) > 0)


def test_the_split_depends_on_its_own_seed_alone(tmp_path: Path) -> None:
    """Runs of different seeds see the same rows, so their validation figures can be compared."""
    fingerprints = [
        tiny.dataset(tmp_path, *overrides)[1].fingerprint()
        for overrides in (["seed=1"], ["seed=2", "fit.epochs=9"], ["data.split_seed=1"])
    ]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_a_class_without_rows_on_one_side_is_refused(share: float) -> None:
    """It could not be learned, or not be validated."""
    labels = np.repeat([0, 1], 20)
    with pytest.raises(Refusal, match="rows of class 0 on both sides"):
        hold_out(labels, share, 0, classes=2, where=WHERE)


@pytest.mark.parametrize("file", ["train-images", "train-labels", "test-images", "test-labels"])
def test_the_fingerprint_changes_with_one_byte(file: str, tmp_path: Path) -> None:
    """Of any file."""
    run, dataset = tiny.dataset(tmp_path)
    path = tmp_path / file
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([(content[-1] + 1) % 10]))
    assert sources.read(run.data).fingerprint() != dataset.fingerprint()


def test_the_fingerprint_changes_with_a_word(tmp_path: Path) -> None:
    """The words for the classes are part of what is learned."""
    plain = tiny.dataset(tmp_path)[1]
    worded = tiny.dataset(tmp_path, f"data.labels={list('abcdefghij')}")[1]
    assert plain.fingerprint() != worded.fingerprint()
    assert worded.labels == tuple("abcdefghij")
