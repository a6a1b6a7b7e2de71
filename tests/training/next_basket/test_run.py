"""Purchases become a served model that is judged like the simpler methods, or they become nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipmax import cli, history
from clipmax import manifest as manifests
from clipmax.inputs import HistoryInput, tensors
from clipmax.manifest import Golden, Manifest
from clipmax.refusal import Refusal
from tests.training.next_basket.conftest import EXAMPLE
from tests.training.purchases import HEADER
from training import answers
from training.config import EventSource
from training.data import baskets
from training.next_basket import baselines, bought, judging, run

SPLIT = date(2024, 3, 1)


@pytest.fixture(scope="module")
def session(folder: Path) -> answers.InferenceSession:
    return answers.session((folder / manifests.MODEL_FILE).read_bytes())


def _schema(manifest: Manifest) -> HistoryInput:
    schema = manifest.inputs[0]
    assert isinstance(schema, HistoryInput)
    return schema


def _ask(session: answers.InferenceSession, manifest: Manifest, *instances: Any, extra: int = 0) -> np.ndarray:
    """Probabilities, with so many places of padding more than are needed."""
    tensor = tensors(manifest.inputs, instances)["history"]
    tensor = np.pad(tensor, ((0, 0), (0, extra), (0, 0)))
    (found,) = session.run(["probabilities"], {"history": tensor})
    return np.asarray(found)


def _instance(items: Iterable[Any], days: Iterable[Any]) -> dict[str, Any]:
    return {"items": [str(item) for item in items], "days_ago": [float(day) for day in days]}


def test_the_manifest_has_the_figures_of_all_methods(manifest: Manifest, purchases: EventSource) -> None:
    """Those of the table, by the same code on the same customers; and what the model itself reached."""
    ranking = manifest.ranking
    assert ranking is not None
    assert manifest.metrics is None
    table = {one.name: one for one in baselines.table(baskets.read(purchases)).baselines}
    assert set(ranking.baselines) == set(table) - {baselines.LOGIT}
    for name, found in ranking.baselines.items():
        assert (found.ndcg_at_10, found.recall_at_20) == (table[name].ndcg_at_10, table[name].recall_at_20)
        assert found.setting == table[name].setting
    assert ranking.ndcg_at_10 == pytest.approx(table[baselines.LOGIT].ndcg_at_10, abs=1e-3)
    assert ranking.recall_at_20 == pytest.approx(table[baselines.LOGIT].recall_at_20, abs=1e-3)
    assert ranking.ndcg_at_10 > ranking.baselines["EASE"].ndcg_at_10
    assert ranking.baselines["EASE"].ahead.ndcg_at_10[0] > 0.0
    assert 0.0 < ranking.log_loss < np.log(manifest.classes)
    assert manifest.data is not None
    assert manifest.data.rows["test"] == ranking.customers == 113


def test_a_version_passes_what_the_service_asks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says what it reached, to people and in its report."""
    assert cli.main(["verify", str(folder)]) == cli.DONE
    assert cli.main(["inspect", str(folder)]) == cli.DONE
    shown = capsys.readouterr().out
    assert "next baskets of 113 customers: NDCG@10" in shown
    assert "personal frequency" in shown
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"{report['test']['ndcg_at_10']:.4f}" in page
    assert all(name in page for name in report["test"]["baselines"])
    assert "<script" not in page


def test_the_graph_answers_the_golden_examples(session: answers.InferenceSession, manifest: Manifest) -> None:
    """Which hold what torch gave."""
    for example in manifest.golden:
        assert isinstance(example, Golden)
        found = _ask(session, manifest, example.instance)[0]
        np.testing.assert_allclose(found, example.probabilities, atol=1e-5)
        assert found.sum() == pytest.approx(1.0, abs=1e-5)


def test_order_padding_and_neighbours_change_nothing(session: answers.InferenceSession, manifest: Manifest) -> None:
    """Padding not a bit; the order of a sum and the size of a batch only the last one."""
    random = np.random.default_rng(0)
    items, days = random.choice(manifest.labels, size=30), random.uniform(0, 300, size=30)
    forth, back = _instance(items, days), _instance(items[::-1], days[::-1])
    alone = _ask(session, manifest, forth)
    np.testing.assert_array_equal(alone, _ask(session, manifest, forth, extra=50))
    np.testing.assert_allclose(alone, _ask(session, manifest, back), atol=1e-6)
    others = [_instance(random.choice(manifest.labels, size=n), [1.0] * n) for n in (0, 5, 200)]
    np.testing.assert_allclose(alone[0], _ask(session, manifest, *others, forth, *others)[3], atol=1e-6)


def test_nothing_known_is_the_prior(session: answers.InferenceSession, manifest: Manifest) -> None:
    """Not a bit other, whatever is unknown; beside known items the unknown count for nothing."""
    empty = _ask(session, manifest, _instance([], []))
    np.testing.assert_array_equal(empty, _ask(session, manifest, _instance(["?", "!"], [1.0, 400.0])))
    known = _ask(session, manifest, _instance([manifest.labels[3]], [2.0]))
    np.testing.assert_array_equal(known, _ask(session, manifest, _instance(["?", manifest.labels[3]], [9.0, 2.0])))
    assert known[0, 3] > empty[0, 3]


def test_what_was_bought_more_often_or_later_is_likelier(session: answers.InferenceSession, manifest: Manifest) -> None:
    """Days before the first purchase of training, and those to come, count as the ends of the range."""
    item, oldest = manifest.labels[3], _schema(manifest).maximum
    days = [[-5.0], [0.0], [30.0], [oldest], [oldest * 9], [0.0, 30.0]]
    found = _ask(session, manifest, *(_instance([item] * len(one), one) for one in days))[:, 3]
    assert found[0] == found[1] > found[2] > found[3] == found[4]
    assert found[5] > found[1]


def test_the_graph_and_the_fitted_model_rank_alike(
    session: answers.InferenceSession, manifest: Manifest, purchases: EventSource
) -> None:
    """Counting in the graph is counting in numpy."""
    events = baskets.read(purchases)
    fitted = run.fit(events)
    mine = list(bought.histories(events.test, events.items))
    (found,) = session.run(["logits"], {"history": history.pairs(mine, _schema(manifest).codes)})
    counted = bought.of_rows(events.test, slice(None), len(events.items))
    np.testing.assert_allclose(found, fitted.logit.scores(counted), atol=1e-4)
    assert manifest.temperature == fitted.temperature


def test_a_fingerprint_is_of_every_purchase(purchases: EventSource) -> None:
    """The same data the same, another basket or item another."""
    events = baskets.read(purchases)
    again = baskets.read(purchases)
    assert run.fingerprint(events) == run.fingerprint(again)
    test = baskets.Task(again.test.day, again.test.past, again.test.customers, again.test.baskets[::-1])
    other = baskets.Events(again.items, again.customers, again.validation, test, again.files, again.left_out)
    assert run.fingerprint(events) != run.fingerprint(other)


def _creatures_of_habit(folder: Path) -> Path:
    """Forty customers who buy one item each, the last time more than 30 days before the test: no weight is fitted."""
    rows = [
        (f"c{customer}", f"{customer}-{days}", f"item {customer % 10}", str(SPLIT + timedelta(days=days)))
        for customer in range(40)
        for days in (-120, -50, 1)
    ]
    with (folder / "purchases.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    path = folder / "run.toml"
    path.write_text(
        'name = "habits"\n[data]\nsource = "events"\nfile = "purchases.csv"\ncustomer = "who"\nbasket = "basket"\n'
        'item = "code"\ntime = "when"\nmin_rows = 1\ntest_from = 2024-03-01\nvalidation_days = 60\n',
        encoding="utf-8",
    )
    return path


def test_a_model_behind_its_best_baseline_is_published_only_when_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message has both figures."""
    command = ["train", str(_creatures_of_habit(tmp_path)), "--set", f"models={tmp_path}/models"]
    assert cli.main(command) == cli.FAILED
    refused = capsys.readouterr().err
    assert 'ndcg_at_10: expected the 1.0000 of personal frequency, or baskets.below_baseline = "publish"' in refused
    assert not (tmp_path / "models" / "habits").exists()
    assert cli.main([*command, "--set", "baskets.below_baseline=publish"]) == cli.DONE
    ranking = manifests.load(tmp_path / "models" / "habits" / "1").ranking
    assert ranking is not None
    assert f"found {ranking.ndcg_at_10:.4f}" in refused
    assert ranking.best_baseline == "personal frequency"
    with pytest.raises(Refusal, match="ndcg_at_10"):
        judging.check(ranking, where="habits")


def test_nobody_follows_or_resumes_a_run_without_epochs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Instead of an empty experiment; nor is there anything to go on from."""
    for option in (["--tensorboard", str(tmp_path)], ["--resume"]):
        assert cli.main(["train", str(EXAMPLE), *option]) == cli.FAILED
        assert f"{option[0]}: epochs: expected a run of epochs" in capsys.readouterr().err


def test_sections_that_mean_nothing_for_purchases_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Instead of being passed over."""
    assert cli.main(["train", str(EXAMPLE), "--set", "fit.epochs=3"]) == cli.FAILED
    assert (
        "online_retail: fit: expected only baskets, data, seed, threads where data are purchases"
        in capsys.readouterr().err
    )
