"""Baselines do what their names say, choose without the test, and come out of one command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clipmax import cli
from clipmax.refusal import Refusal
from tests.training import tiny
from tests.training.purchases import ROWS, source, write
from training import run_file
from training.data import baskets, sources
from training.data.baskets import Purchases
from training.next_basket import baselines
from training.next_basket.bought import Bought, Past

EXAMPLE = Path(__file__).parents[3] / "examples" / "online_retail" / "online_retail.toml"
ITEMS = 6


@pytest.fixture(scope="module")
def past() -> Past:
    """Sixty baskets of twenty customers over a hundred days, at random."""
    random = np.random.default_rng(0)
    bought = [
        (basket % 20, basket, item, float(basket))
        for basket in range(60)
        for item in random.choice(ITEMS, size=random.integers(1, 5), replace=False)
    ]
    customers, numbers, items, days = (np.array(column) for column in zip(*bought, strict=True))
    return Past(Purchases(customers, numbers, items, days), ITEMS, day=60.0)


def _counts(past: Past) -> baselines.Floats:
    counts = np.zeros((20, ITEMS), dtype=np.float32)
    np.add.at(counts, (past.purchases.customers, past.purchases.items), 1.0)
    return counts


def _bought(counts: baselines.Floats) -> Bought:
    return Bought(counts, counts)


def test_ease_is_ridge_regression_of_each_item_on_the_others(past: Past) -> None:
    """Column by column, as Steck (2019) defines it."""
    bought = (_counts(past) > 0).astype(np.float64)
    scores = baselines.ease(past, 2.0)(_bought(_counts(past)))
    for item in range(ITEMS):
        others = np.delete(bought, item, axis=1)
        weights = np.linalg.solve(others.T @ others + 2.0 * np.eye(ITEMS - 1), others.T @ bought[:, item])
        np.testing.assert_allclose(scores[:, item], others @ weights, rtol=1e-4, atol=1e-5)


def test_neighbours_are_cosines_of_baskets(past: Past) -> None:
    """Of one item bought: the share of common baskets; of the item itself nothing; beyond the nearest nothing."""
    rows = np.zeros((60, ITEMS))
    rows[past.purchases.baskets, past.purchases.items] = 1.0
    one = np.eye(ITEMS, dtype=np.float32)
    scores = baselines.item_neighbours(past, ITEMS)(_bought(one))
    expected = rows[:, 0] @ rows[:, 1] / np.sqrt(rows[:, 0].sum() * rows[:, 1].sum())
    assert scores[0, 1] == pytest.approx(expected)
    assert (scores.diagonal() == 0.0).all()
    assert ((baselines.item_neighbours(past, 2)(_bought(one)) > 0).sum(axis=0) <= 2).all()


def test_popularity_counts_baskets_of_all_time_or_of_the_last_days(past: Past) -> None:
    """The same for every customer."""
    counts = _counts(past)
    np.testing.assert_array_equal(baselines.popularity(past, 0.0)(_bought(counts))[3], counts.sum(axis=0))
    late = past.purchases.items[past.purchases.days >= 50.0]
    np.testing.assert_array_equal(
        baselines.recent_popularity(past, 10.0)(_bought(counts))[0], np.bincount(late, minlength=ITEMS)
    )


def test_personal_frequency_comes_before_what_is_popular(past: Past) -> None:
    """Popularity orders equals alone: it never adds up to one more time bought."""
    counts = _counts(past)
    extra = baselines.personal_frequency(past, 60.0)(_bought(counts)) - counts
    assert (extra >= 0.0).all()
    assert (extra < 1.0).all()
    assert (np.argsort(extra[0]) == np.argsort(np.bincount(past.purchases.items, minlength=ITEMS))).all()


def test_the_conditional_logit_needs_baskets_to_weigh_by() -> None:
    """Of customers who always buy the same, habit counts for an item; without baskets to learn from nothing does."""
    numbers = np.arange(60)
    habit = Purchases(numbers % 20, numbers, numbers % 20 % ITEMS, numbers.astype(np.float64))
    bought = _bought(_counts(Past(habit, ITEMS, day=60.0)))
    scores = baselines.conditional_logit(Past(habit, ITEMS, day=60.0), 7.0)(bought)
    assert (scores.argmax(axis=1) == np.arange(20) % ITEMS).all()
    first_days = Past(habit.before(20.0), ITEMS, day=20.0)
    assert not baselines.conditional_logit(first_days, 7.0)(bought).any()


def test_settings_are_chosen_without_the_test() -> None:
    """Other baskets after the day, the same settings."""
    events = baskets.read(run_file.read(EXAMPLE).data)  # type: ignore[arg-type]  # the example is one of purchases
    task = events.test
    shuffled = baskets.Task(task.day, task.past, task.customers, task.baskets[::-1])
    other = baskets.Events(events.items, events.customers, events.validation, shuffled, {}, {})
    found, again = baselines.table(events), baselines.table(other)
    assert [one.setting for one in found.baselines] == [one.setting for one in again.baselines]
    assert [one.ndcg_at_10 for one in found.baselines] != [one.ndcg_at_10 for one in again.baselines]


def test_the_figures_of_a_small_file_by_hand(tmp_path: Path) -> None:
    """Tea is the most popular, then cup and mug; Ann buys mug and tea next, Bob tea."""
    found = baselines.table(baskets.read(source(write(tmp_path, ROWS))))
    assert (found.items, found.customers, found.customers_with_new, found.purchases) == (3, 2, 1, 7)
    popularity = found.baselines[0]
    assert popularity.name == "popularity"
    assert popularity.recall_at_20 == 1.0
    ann = (1 + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert popularity.ndcg_at_10 == pytest.approx((ann + 1.0) / 2)
    assert popularity.new_ndcg_at_10 == 1.0


def test_the_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """For people, and as JSON with the same figures."""
    assert cli.main(["baselines", str(EXAMPLE)]) == cli.DONE
    shown = capsys.readouterr().out
    assert cli.main(["baselines", str(EXAMPLE), "--json"]) == cli.DONE
    found = baselines.Table.model_validate(json.loads(capsys.readouterr().out))
    assert [one.name for one in found.baselines] == list(baselines.BASELINES)
    for one in found.baselines:
        assert f"{one.ndcg_at_10:.4f}" in shown
    best = max(found.baselines, key=lambda one: one.ndcg_at_10)
    assert [one.name for one in found.baselines if one.behind_best is None] == [best.name]
    assert all(one.behind_best[0] < one.behind_best[1] for one in found.baselines if one.behind_best is not None)


def test_other_data_than_purchases_has_no_baselines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what the command needs."""
    assert cli.main(["baselines", str(tiny.write(tmp_path))]) == cli.FAILED
    assert "data.source: expected 'events', found 'idx'" in capsys.readouterr().err


def test_no_classifier_is_trained_on_purchases() -> None:
    """Instead of a failure in the middle of a run."""
    with pytest.raises(Refusal, match=r"data.source: expected rows with one label each"):
        sources.read(run_file.read(EXAMPLE).data)
