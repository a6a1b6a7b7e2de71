"""Two versions are asked about the same customers: which is better, and what of that is more than chance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clipmax import cli, history
from clipmax.refusal import Refusal
from tests import artifacts
from tests.training.next_basket.conftest import EXAMPLE
from training import answers
from training.compare import Version
from training.config import EventSource
from training.data import baskets
from training.next_basket import bought, comparison, evaluation, ranking


@pytest.fixture(scope="module")
def before(folder: Path) -> Version:
    return Version.read(folder)


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """Of the 61 items that were bought most often."""
    models = tmp_path_factory.mktemp("models")
    assert cli.main(["train", str(EXAMPLE), "--set", f"models={models}", "--set", "data.min_rows=40"]) == cli.DONE
    return Version.read(models / "online_retail" / "1")


def test_a_version_does_not_differ_from_itself(before: Version, folder: Path, purchases: EventSource) -> None:
    """And has the figures that it is evaluated with."""
    found = comparison.compare(before, before, purchases)
    test = evaluation.evaluate(folder, purchases).test
    for name, change in found.figures.items():
        assert change.before == change.after == getattr(test, name)
        assert (change.low, change.high) == (0.0, 0.0)
    assert (found.better, found.worse, found.sign_test) == (0, 0, 1.0)
    assert found.customers == 113


def test_of_other_items_only_the_common_ones_are_asked_ranked_and_counted(
    before: Version, after: Version, purchases: EventSource
) -> None:
    """Against the answers of onnxruntime itself."""
    found = comparison.compare(before, after, purchases, common_labels=True)
    items = after.manifest.labels
    assert len(found.only_before) == len(before.manifest.labels) - len(items)
    assert found.only_after == ()
    task = baskets.read(purchases, items=items).test
    histories = list(bought.histories(task, items))
    each = []
    for version in (before, after):
        pairs = history.pairs(histories, evaluation.schema_of(version).codes)
        logits, _ = answers.session(version.graph).run(["logits", "probabilities"], {"history": pairs})
        places = [version.manifest.labels.index(item) for item in items]
        each.append(ranking.judge(ranking.first(logits[:, places]), task.baskets))
    old, new = each
    change = found.figures["ndcg_at_10"]
    assert (change.before, change.after) == (old.means[0], new.means[0])
    assert change.low <= change.difference <= change.high
    assert found.better == np.count_nonzero(new.ndcg > old.ndcg)
    assert found.worse == np.count_nonzero(new.ndcg < old.ndcg)
    assert found.figures["log_loss"].before < np.log(len(items))


def test_other_items_are_refused_unless_they_may_be_left_out(
    before: Version, after: Version, purchases: EventSource
) -> None:
    """The message says how."""
    with pytest.raises(Refusal, match="or --common-labels"):
        comparison.compare(before, after, purchases)


def test_the_command_takes_a_run_file_of_purchases(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON and in words, with a field of it overridden."""
    command = ["compare", str(folder), str(folder), "--data", str(EXAMPLE)]
    assert cli.main([*command, "--json", "--set", "data.test_from=2011-11-15"]) == cli.DONE
    assert json.loads(capsys.readouterr().out)["customers"] == 86
    assert cli.main(command) == cli.DONE
    words = capsys.readouterr().out
    assert "online_retail:1 → online_retail:1 on the next baskets of 113 customers of sample.csv.gz" in words
    assert "new: NDCG@10" in words
    assert "NDCG@10 is higher for 0 customers, lower for 0, the same for 113" in words


def test_a_table_alone_does_not_say_what_its_columns_are(folder: Path, before: Version) -> None:
    """And a RUN.toml of other data has none."""
    for data in (EXAMPLE.with_name("sample.csv.gz"), EXAMPLE.parents[1] / "mnist" / "recommended.toml"):
        with pytest.raises(Refusal, match=r"--data: expected a RUN.toml whose \[data\] names the columns"):
            comparison.purchases(data, before, before)


def test_classifiers_are_not_compared_on_purchases(before: Version, purchases: EventSource, tmp_path: Path) -> None:
    """Neither with each other nor with a model of purchases; on their own data they are compared as ever."""
    tiny = Version.read(artifacts.publish(tmp_path))
    with pytest.raises(Refusal, match="tiny:1: inputs: expected one history"):
        comparison.compare(before, tiny, purchases)
    assert comparison.purchases(tmp_path / "rows.npz", tiny, tiny) is None


def test_overrides_need_a_run_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Instead of being passed over."""
    with pytest.raises(SystemExit):
        cli.main(["compare", str(folder), str(folder), "--data", "rows.csv", "--set", "data.min_rows=3"])
    assert "--set goes with a RUN.toml" in capsys.readouterr().err
