"""A published version of next baskets is measured on purchases: the manifest's figures, and those of the service."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from clipmax import cli
from clipmax.client import Client
from clipmax.manifest import Manifest
from clipmax.ranking import Ranking
from clipmax.refusal import Refusal
from tests import artifacts
from tests.service.running import serving
from tests.training.next_basket.conftest import EXAMPLE, purchases_of
from tests.training.purchases import HEADER
from training.config import EventSource
from training.data import baskets
from training.next_basket import bought, evaluation, ranking


def test_the_command_gives_the_figures_of_the_manifest(
    folder: Path, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit for bit, as JSON and in words."""
    assert cli.main(["evaluate", str(folder), str(EXAMPLE), "--json"]) == cli.DONE
    found = json.loads(capsys.readouterr().out)
    assert isinstance(manifest.ranking, Ranking)
    assert found["test"] == found["manifest_ranking"] == manifest.ranking.model_dump(exclude={"baselines"})
    assert found["same_data"] is True
    low, high = found["intervals"]["ndcg_at_10"]
    assert low < found["test"]["ndcg_at_10"] < high
    assert cli.main(["evaluate", str(folder), str(EXAMPLE)]) == cli.DONE
    words = capsys.readouterr().out
    assert "online_retail version 1 on the next baskets of 113 customers\n" in words
    assert words.count(f"{manifest.ranking.ndcg_at_10:.4f}") == 2
    assert "the manifest says the same figures" in words


def test_the_service_reaches_the_same_figures(folder: Path, purchases: EventSource, tmp_path: Path) -> None:
    """Every customer is asked about over HTTP; the figures of these answers are the same bits."""
    events = baskets.read(purchases)
    histories = [one._asdict() for one in bought.histories(events.test, events.items)]
    with serving(folder.parents[1], tmp_path) as running, Client(running.url) as client:
        answers = client.predict(histories, probabilities=True, logits=True)
    logits = np.array([list((one.logits or {}).values()) for one in answers], dtype=np.float32)
    seen = bought.of_rows(events.test, slice(None), len(events.items)).seen
    whole = ranking.judge(ranking.first(logits), events.test.baskets)
    new = ranking.judge_new(logits, events.test.baskets, seen)
    chances = answers.to_numpy().astype(np.float64)
    surprise = [-np.log(row[basket]).mean() for row, basket in zip(chances, events.test.baskets, strict=True)]
    test = evaluation.evaluate(folder, purchases).test
    assert (test.ndcg_at_10, test.recall_at_20) == whole.means
    assert (test.new_ndcg_at_10, test.new_recall_at_20) == new.means
    assert test.log_loss == pytest.approx(np.mean(surprise), rel=1e-6)  # shares of a basket are float32


def test_a_later_split_is_other_data(folder: Path) -> None:
    """Fewer customers, longer histories, items that are still the version's own."""
    found = evaluation.evaluate(folder, purchases_of("data.test_from=2011-11-15"))
    assert found.same_data is False
    assert found.manifest_ranking is not None
    assert found.test.customers < found.manifest_ranking.customers
    assert found.test.purchases > found.manifest_ranking.purchases
    words = evaluation.lines(found)
    assert "of other data than it was trained with" in words[0]
    assert words[-1] == "the manifest says other figures"


def test_a_split_that_the_version_has_seen_is_refused(folder: Path) -> None:
    """Its figures would be those of a memory."""
    with pytest.raises(Refusal, match="test_from: expected 2011-11-01 or later, for online_retail:1 has seen"):
        evaluation.evaluate(folder, purchases_of("data.test_from=2011-10-15"))


def test_another_shop_is_refused(folder: Path, tmp_path: Path) -> None:
    """None of its items is known."""
    path = tmp_path / "purchases.csv"
    rows = [("ann", str(day), "tea", f"2012-0{day}-01") for day in (1, 2, 3)]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    columns = (f"data.{name}={word}" for name, word in zip(("customer", "basket", "item", "time"), HEADER, strict=True))
    source = purchases_of(f"data.file={path}", *columns).model_copy(update={"quantity": None, "items": None})
    with pytest.raises(Refusal, match="column 'code': expected at least one of the 271 items"):
        evaluation.evaluate(folder, source)


def test_versions_of_other_inputs_are_refused(purchases: EventSource, tmp_path: Path) -> None:
    """Pixels; and histories whose items are not what is told."""
    with pytest.raises(Refusal, match=r"tiny:1: inputs: expected one history.*found 'image \(image\)'"):
        evaluation.evaluate(artifacts.publish(tmp_path), purchases)
    with pytest.raises(Refusal, match="history:1: labels: expected the items of its histories"):
        evaluation.evaluate(artifacts.publish_history(tmp_path), purchases)
