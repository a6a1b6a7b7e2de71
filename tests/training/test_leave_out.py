"""Classes hidden in turn: how well each score notices them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from clipmax import cli
from clipmax.refusal import Refusal
from tests.training import tiny
from training import leave_out
from training.leave_out import Comparison


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, list[str]]:
    """Two folds on the 8×8 digits, and what was said meanwhile."""
    said: list[str] = []
    settings = tiny.read(tmp_path_factory.mktemp("leave_out"), "fit.epochs=8", "novelty.score=hidden")
    return leave_out.compare(settings, share=0.25, folds=2, say=said.append), said


def test_hidden_classes_are_noticed_better_than_by_chance(compared: tuple[Comparison, list[str]]) -> None:
    """Every score that needs no text is there, the best first."""
    found, said = compared
    assert [one.group for one in found.figures] == ["hidden"] * 4
    assert {one.score for one in found.figures} == {"probability", "hidden", "features", "together"}
    means = [np.mean(one.auroc) for one in found.figures]
    assert means == sorted(means, reverse=True)
    assert means[0] > 0.7
    assert len(said) == 2


def test_the_table_names_the_exported_score_and_the_best(compared: tuple[Comparison, list[str]]) -> None:
    """For a person who has to choose one."""
    found, _ = compared
    lines = leave_out.lines(found)
    assert lines[0].startswith("2 of 10 classes hidden, 2 folds; accuracy ")
    assert len(lines) == 2 + len(found.figures) + 1
    assert lines[-1].startswith("exported: hidden")
    assert found.figures[0].score in lines[-1]


def test_hiding_leaves_no_row_of_a_hidden_class(tmp_path: Path) -> None:
    """The other labels keep their words; what is set aside is of training and validation."""
    _, dataset = tiny.dataset(tmp_path)
    hidden = np.array([7, 2])
    known, aside = leave_out.hide(dataset, hidden)
    assert known.labels == tuple("01345689")
    for name, split in known.splits.items():
        whole = dataset.splits[name]
        kept = np.flatnonzero(~np.isin(whole.labels, hidden))
        assert np.array_equal(split.columns["image"], whole.columns["image"][kept])
        assert [known.labels[label] for label in split.labels] == [
            dataset.labels[label] for label in whole.labels[kept]
        ]
    rows = sum(int(np.isin(split.labels, hidden).sum()) for split in (dataset.train, dataset.validation))
    assert len(aside) == rows


@given(
    usual=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    unusual=st.lists(st.integers(0, 9), min_size=1, max_size=40),
)
def test_auroc_is_that_of_scikit_learn(usual: list[int], unusual: list[int]) -> None:
    """Ties among them."""
    found = leave_out.auroc(np.array(usual, dtype=float), np.array(unusual, dtype=float))
    labels = [0] * len(usual) + [1] * len(unusual)
    assert found == pytest.approx(roc_auc_score(labels, usual + unusual))


def test_two_classes_must_be_left(tmp_path: Path) -> None:
    """Of one class nothing can be learnt."""
    with pytest.raises(Refusal, match="at least 2 classes left"):
        leave_out.compare(tiny.read(tmp_path), share=0.9, folds=1)


def test_a_version_to_go_on_from_has_seen_what_is_hidden(tmp_path: Path) -> None:
    """So its figures would be too good."""
    with pytest.raises(Refusal, match=r"start\.version"):
        leave_out.compare(tiny.read(tmp_path, f"start.version={tmp_path}/1"), share=0.25, folds=1)


@pytest.mark.parametrize("share", ["0", "1", "1.5", "nan"])
def test_the_share_lies_between_0_and_1(share: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage, exit code 2."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["novelty", str(tiny.write(tmp_path)), "--leave-out", share])
    assert ended.value.code == 2
    assert "--leave-out" in capsys.readouterr().err


def test_the_command_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--json`; nothing is published."""
    arguments = ["--folds", "1", "--json", "--set", "fit.epochs=1", f"--set=models={tmp_path}/models"]
    assert cli.main(["novelty", str(tiny.write(tmp_path)), *arguments]) == cli.DONE
    assert json.loads(capsys.readouterr().out)["classes"] == 10
    assert not (tmp_path / "models").exists()
