"""What counting and linear algebra reach on next baskets: what a model has to beat, by the same split and figures.

A baseline is fitted on the purchases before a point in time and scores all items from how often a customer has bought
each. Its one setting, where it has one, is the best on the validation task by NDCG@10; then it is fitted anew on all
purchases before the test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from clipmax.refusal import Refusal
from training import paired
from training.config import EventSource, Source
from training.data import baskets
from training.data.baskets import Events, Task
from training.next_basket import bought as histories
from training.next_basket import cooccurrence, logit, ranking
from training.next_basket.bought import Bought, Past
from training.next_basket.ranking import Ranked

Floats = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Scorer = Callable[[Bought], Floats]
"""What R customers bought → scores [R, K], higher is better."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """One way to score.

    Args:
        fit: the past and the setting → scorer.
        settings: to choose from.
        setting: what the number is.
    """

    fit: Callable[[Past, float], Scorer]
    settings: Sequence[float] = (0.0,)
    setting: str | None = None


class BaselineFigures(BaseModel):
    """One baseline on the test task."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    setting: str | None = Field(description="what was chosen on the validation task; null: there is nothing to choose")
    ndcg_at_10: float = Field(ge=0.0, le=1.0)
    recall_at_20: float = Field(ge=0.0, le=1.0)
    new_ndcg_at_10: float | None = Field(description="on items that the customer never bought; null: nobody bought any")
    new_recall_at_20: float | None
    behind_best: tuple[float, float] | None = Field(
        description="95 % interval of how much lower its NDCG@10 is than the best one's; null: it is the best"
    )


class Table(BaseModel):
    """All baselines on one test task."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    items: int
    customers: int = Field(description="of the test task")
    customers_with_new: int = Field(description="of them bought an item that they never had")
    purchases: int = Field(description="before the test task, each item once a basket")
    left_out: dict[str, int] = Field(description="why rows of the file are not used → how many")
    baselines: tuple[BaselineFigures, ...]


def popularity(past: Past, setting: float) -> Scorer:
    """In how many baskets an item was."""
    del setting
    return _same_for_all(histories.popularity(past.purchases, past.items))


def recent_popularity(past: Past, window: float) -> Scorer:
    """The same, of the last days alone."""
    return _same_for_all(histories.popularity(past.purchases.since(past.day - window), past.items))


def item_neighbours(past: Past, neighbours: float) -> Scorer:
    """Sum of the cosines between an item and those that the customer bought (Sarwar et al. 2001), by common baskets.

    An item counts only those that are nearest to it; none is its own neighbour.
    """
    together = cooccurrence.together(past.purchases.baskets, past.purchases.items, past.items)
    lengths = np.sqrt(np.maximum(together.diagonal(), 1.0))
    cosines = together / np.outer(lengths, lengths)
    np.fill_diagonal(cosines, 0.0)
    kept = min(int(neighbours), past.items)
    least = -np.partition(-cosines, kept - 1, axis=0)[kept - 1]
    weights = np.where(cosines >= least, cosines, 0.0).astype(np.float32)
    return lambda bought: bought.seen.astype(np.float32) @ weights


def ease(past: Past, ridge: float) -> Scorer:
    """A linear model from all items bought to each item but itself, in closed form (EASE, Steck 2019)."""
    weights = cooccurrence.ease(past.purchases, past.items, ridge)
    return lambda bought: bought.seen.astype(np.float32) @ weights


def personal_frequency(past: Past, window: float) -> Scorer:
    """How often the customer bought an item; among equals, and after them, what was popular in the last days."""
    recent = histories.popularity(past.purchases.since(past.day - window), past.items)
    return lambda bought: bought.times + recent / (recent.max() + 1.0)


def conditional_logit(past: Past, window: float) -> Scorer:
    """A softmax over all items with five weights, see `training.next_basket.logit`: what `clipmax train` publishes."""
    return logit.fit(past, window).scores


LOGIT = "conditional logit"

BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "popularity": Baseline(popularity),
        "recent popularity": Baseline(recent_popularity, (7.0, 30.0, 90.0), "days"),
        "item-kNN on baskets": Baseline(item_neighbours, (20.0, 100.0, 500.0), "neighbours"),
        "EASE": Baseline(ease, (50.0, 100.0, 200.0, 500.0), "ridge"),
        "personal frequency": Baseline(personal_frequency, (7.0, 30.0, 90.0), "days"),
        LOGIT: Baseline(conditional_logit, logit.WINDOWS, "days"),
    }
)


def table(events: Events) -> Table:
    """Choose, fit and judge all baselines."""
    reached = [reach(name, events) for name in BASELINES]
    best = max(reached, key=lambda one: one.whole.means[0])
    figures = tuple(_figures(one, best) for one in reached)
    task, items = events.test, len(events.items)
    return Table(
        items=items,
        customers=len(task),
        customers_with_new=len(best.new.ndcg),
        purchases=len(task.past),
        left_out=dict(events.left_out),
        baselines=figures,
    )


def of_run(source: Source, *, where: Path) -> Table:
    """The table of a run's data; `where` is its file, for the message.

    Raises:
        Refusal: other data than purchases, or what `baskets.read` refuses.
    """
    if not isinstance(source, EventSource):
        raise Refusal(where, "data.source", expected="'events'", found=repr(source.source))
    return table(baskets.read(source))


def lines(found: Table) -> list[str]:
    """The table for a person."""
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in found.left_out.items() if count)
    return [
        f"{found.items:,} items, {found.purchases:,} purchases before the test",
        f"rows left out: {left_out or 'none'}",
        f"next basket of {found.customers:,} customers; {found.customers_with_new:,} of them bought something new",
        f"{'':38}{'all items':>20}{'new to the customer':>22}",
        f"{'':38}{'NDCG@10 recall@20':>20}{'NDCG@10 recall@20':>22}{'behind':>20}",
        *(_line(one) for one in found.baselines),
        "behind: 95 % interval of how much lower NDCG@10 is than the best one's, over the same customers",
    ]


def _line(one: BaselineFigures) -> str:
    name = one.name if one.setting is None else f"{one.name} ({one.setting})"
    whole = _pair(one.ndcg_at_10, one.recall_at_20)
    behind = "best" if one.behind_best is None else f"{one.behind_best[0]:.4f} to {one.behind_best[1]:.4f}"
    return f"{name:<38}{whole:>20}{_pair(one.new_ndcg_at_10, one.new_recall_at_20):>22}{behind:>20}"


def _pair(ndcg: float | None, recall: float | None) -> str:
    return "–" if ndcg is None or recall is None else f"{ndcg:7.4f}{recall:10.4f}"


def judge(scorer: Scorer, task: Task, items: int) -> tuple[Ranked, Ranked]:
    """The figures over all items, and those over items that the customer never bought."""
    parts = [
        _judge_rows(scorer(bought), task.baskets[rows], bought.seen) for rows, bought in histories.chunks(task, items)
    ]
    return ranking.joined([whole for whole, _ in parts]), ranking.joined([new for _, new in parts])


@dataclass(frozen=True, slots=True)
class Reached:
    """What one method reached with its chosen setting, customer by customer."""

    name: str
    setting: str | None
    whole: Ranked
    new: Ranked


def reach(name: str, events: Events) -> Reached:
    """Choose, fit and judge one of `BASELINES`."""
    baseline, items = BASELINES[name], len(events.items)
    chosen = choose(baseline, events.validation, items)
    whole, new = judge(_fitted(baseline, events.test, items, chosen), events.test, items)
    return Reached(name, None if baseline.setting is None else f"{chosen:g} {baseline.setting}", whole, new)


def _figures(one: Reached, best: Reached) -> BaselineFigures:
    ndcg, recall = one.whole.means
    new_ndcg, new_recall = one.new.means if len(one.new.ndcg) else (None, None)
    return BaselineFigures(
        name=one.name,
        setting=one.setting,
        behind_best=None if one is best else paired.mean_interval(best.whole.ndcg - one.whole.ndcg),
        ndcg_at_10=ndcg,
        recall_at_20=recall,
        new_ndcg_at_10=new_ndcg,
        new_recall_at_20=new_recall,
    )


def choose(baseline: Baseline, task: Task, items: int) -> float:
    """The setting of the highest NDCG@10 on a task."""
    if len(baseline.settings) == 1:
        return baseline.settings[0]
    reached = [judge(_fitted(baseline, task, items, one), task, items)[0].means[0] for one in baseline.settings]
    return baseline.settings[int(np.argmax(reached))]


def _fitted(baseline: Baseline, task: Task, items: int, setting: float) -> Scorer:
    return baseline.fit(Past(task.past, items, task.day), setting)


def _judge_rows(scores: Floats, baskets: Sequence[Indices], seen: Flags) -> tuple[Ranked, Ranked]:
    return ranking.judge(ranking.first(scores), baskets), ranking.judge_new(scores, baskets, seen)


def _same_for_all(scores: Floats) -> Scorer:
    return lambda bought: np.broadcast_to(scores, bought.times.shape)
