"""What a session gives for the golden examples of a graph of very many classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipmax import labels, manifest
from clipmax.refusal import Refusal
from service.engine import golden
from service.engine.providers import Execution
from service.engine.session import Session
from service.outputs import Top
from tests import artifacts
from tests.service.engine.breaking import rewrite


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifacts.publish_top(tmp_path_factory.mktemp("models"))


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    copy = tmp_path / published.parent.name / published.name
    copy.mkdir(parents=True)
    for path in published.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def load(folder: Path) -> Session:
    return Session.load(folder, manifest.load(folder), Execution())


def swap(example: dict[str, Any]) -> None:
    indices = example["top_indices"]
    indices[0], indices[4] = indices[4], indices[0]


def repeat(example: dict[str, Any]) -> None:
    example["top_indices"][1] = example["top_indices"][0]


def beyond(example: dict[str, Any]) -> None:
    example["top_indices"][1] = 12_000


def other_probability(example: dict[str, Any]) -> None:
    example["top_probabilities"][0] += 1e-4


def smaller_probability(example: dict[str, Any]) -> None:
    example["top_probabilities"] = [value * 1.002 for value in example["top_probabilities"]]


def other_partition(example: dict[str, Any]) -> None:
    example["log_partition"] += 0.01


def fewer(example: dict[str, Any]) -> None:
    del example["top_indices"][-1], example["top_probabilities"][-1]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (swap, "golden[1].top_indices"),
        (repeat, "golden.1.top"),
        (beyond, "document"),
        (other_probability, "golden[1]"),
        (smaller_probability, "golden[1]"),
        (other_partition, "golden log_partition[1]"),
        (fewer, "outputs.top_indices.shape"),
    ],
)
def test_another_graph_is_refused(folder: Path, change: Callable[[dict[str, Any]], None], field: str) -> None:
    """A class at another place, a probability, the partition sum, or another number of classes."""

    def changed(document: dict[str, Any]) -> None:
        for example in document["golden"][0 if change is fewer else 1 :][: None if change is fewer else 1]:
            change(example)

    rewrite(folder, changed)
    with pytest.raises(Refusal) as refusal:
        load(folder)
    assert refusal.value.field == field


def top(*probabilities: float, indices: tuple[int, ...] = (7, 8, 9)) -> Top:
    return Top(
        np.array([indices], dtype=np.int64),
        np.array([probabilities], dtype=np.float32),
        np.zeros(1, dtype=np.float32),
    )


@pytest.mark.parametrize(
    ("outputs", "field"),
    [
        (top(0.9, 0.2, 0.1), "golden sums"),
        (top(0.2, 0.3, 0.1), "golden.top_probabilities"),
        (top(0.3, 0.2, -0.1), "golden.top_probabilities"),
        (top(0.3, 0.2, 0.1, indices=(7, 8, 7)), "golden.top_indices"),
        (top(0.3, 0.2, 0.1, indices=(-1, 8, 7)), "golden.top_indices"),
    ],
)
def test_what_no_distribution_gives_is_refused(published: Path, outputs: Top, field: str) -> None:
    """Whatever the golden examples say."""
    with pytest.raises(Refusal) as refusal:
        golden.check_classes(outputs, manifest.load(published), published)
    assert refusal.value.field == field


def test_the_last_class_may_tie_with_one_that_is_not_named(folder: Path) -> None:
    """Which of the two is named may differ from machine to machine; its probability may not."""

    def exchange(document: dict[str, Any]) -> None:
        document["golden"][0]["top_indices"][-1] = 11_999

    rewrite(folder, exchange)
    load(folder)


def test_more_labels_than_the_manifest_holds_lie_in_a_file(published: Path) -> None:
    """Which the manifest vouches for, and which does not make it long."""
    found = manifest.load(published)
    assert found.labels_file == labels.FILE
    assert found.labels[:2] == ("label 0", "label 1")
    assert len(found.labels) == found.classes == found.seal.labels == 12_000
    assert (published / "manifest.json").stat().st_size < 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("label 7\n", "label 8\n"), "1 repeat another, the first is label 8, like label 7"),
        (lambda text: text.replace("label 7\n", ""), "12,000 lines, as the seal says, found 11,999"),
        (lambda text: text.replace("label 7\n", "label\x007\n"), "without control characters, found label 7"),
    ],
)
def test_labels_with_a_fault_stop_the_load(folder: Path, change: Callable[[str], str], message: str) -> None:
    """Even when every hash fits."""
    path = folder / labels.FILE
    path.write_text(change(path.read_text()))
    with pytest.raises(Refusal, match=r"labels.txt: sha256|labels.txt: size"):
        manifest.load(folder)
    rewrite(folder, lambda _: None)
    with pytest.raises(Refusal, match=message):
        manifest.load(folder)
