"""What a run of many classes is told before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipmax.refusal import Refusal
from tests.training import tiny
from training import run
from training.config import Run
from training.heads import cost


def _run(folder: Path, head: str) -> Run:
    settings = tiny.read(folder, "fit.batch_size=256", "model.hidden=[128]", "head.answer=top", "head.start=prior")
    return settings.model_copy(update={"head": settings.head.model_copy(update={"name": head})})


def test_more_classes_than_memory_are_refused_with_the_number(tmp_path: Path) -> None:
    """What is said to be taken at most is what must be there."""
    settings = _run(tmp_path, "chunked")
    available = cost.expect(settings, 100_000).peak_bytes
    cost.check_memory(settings, 100_000, available=available)
    with pytest.raises(Refusal) as caught:
        cost.check_memory(settings, 100_001, available=available)
    assert caught.value.field == "classes"
    assert "at most 100,000" in caught.value.expected


def test_a_sampled_head_has_room_for_more_than_an_exact_one(tmp_path: Path) -> None:
    """Neither a dense gradient nor two moments of Adam: a million classes in 1.6 GB, the exact head needs 2.6."""
    cost.check_memory(_run(tmp_path, "sampled"), 1_000_000, available=1_600_000_000)
    with pytest.raises(Refusal):
        cost.check_memory(_run(tmp_path, "chunked"), 1_000_000, available=2_500_000_000)


def test_a_graph_of_more_than_two_gigabytes_is_refused(tmp_path: Path) -> None:
    """One file cannot hold it, whatever the memory."""
    with pytest.raises(Refusal, match="2 GB"):
        cost.check_memory(_run(tmp_path, "sampled"), 4_000_000, available=10**15)


@pytest.mark.parametrize("head", ["full", "chunked", "sampled"])
def test_memory_is_told_by_the_formula(tmp_path: Path, head: str) -> None:
    """The sampled head holds one table where the others hold four."""
    found = cost.expect(_run(tmp_path, head), 10_000)
    tables = {"full": 4, "chunked": 4, "sampled": 1}[head]
    logits = {"full": 3 * 10_000, "chunked": 2 * 8192, "sampled": 2 * 8448}[head]
    assert found.step_bytes == tables * 10_000 * 129 * 4 + 256 * logits * 4
    assert found.step_seconds > 0


def test_the_run_says_it_before_training(tmp_path: Path) -> None:
    """Two lines: the head chosen, and the cost of a step."""
    lines: list[str] = []
    run.read(tiny.read(tmp_path, "head.name=sampled"), say=lines.append)
    assert "head: sampled, answering full" in lines
    assert any(line.startswith("last layer: about ") and "MB a step" in line for line in lines)
