"""A graph, and what customers bought before and after → its figures, customer by customer, and against others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipmax import history
from clipmax.inputs import HistoryInput
from clipmax.ranking import Ahead, Baseline, Measured, Ranking
from clipmax.refusal import Refusal
from training import answers, paired
from training.data.baskets import Task
from training.next_basket import bought as histories
from training.next_basket import logit, ranking
from training.next_basket.baselines import Reached
from training.next_basket.ranking import Ranked

_ROWS = 256
_TOP = 10
_OTHERS = ("log_loss", "log_loss_uncalibrated", "top_probability", "top_share")

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a graph gave R customers.

    Args:
        whole: figures over all items.
        new: over items that the customer never bought, of those who bought one next.
        log_loss: in nats, after temperature, float64 [R], as what follows.
        log_loss_uncalibrated: before it.
        top_probability: that the graph gives its ten likeliest items together.
        top_share: of the basket that these ten are.
    """

    whole: Ranked
    new: Ranked
    log_loss: Floats
    log_loss_uncalibrated: Floats
    top_probability: Floats
    top_share: Floats

    @property
    def by_customer(self) -> Mapping[str, Floats]:
        """Member of `Measured` → its value of each customer; those of new items of fewer, perhaps of none."""
        return {
            "ndcg_at_10": self.whole.ndcg,
            "recall_at_20": self.whole.recall,
            "new_ndcg_at_10": self.new.ndcg,
            "new_recall_at_20": self.new.recall,
            "log_loss": self.log_loss,
        }


def judge(graph: bytes, schema: HistoryInput, task: Task, *, items: Sequence[str] | None = None) -> Judged:
    """Answer every customer of a task by onnxruntime, and compare with what was bought.

    Args:
        graph: its labels are the items of `schema`, in their order.
        schema: of its one input.
        task: what is to be told.
        items: of the task; the graph's others are not ranked, and probabilities are those among these. All if None.
    """
    items = schema.items if items is None else items
    session, places = answers.session(graph), [schema.codes[item] - history.FIRST_ITEM_CODE for item in items]
    mine = list(histories.histories(task, items))
    parts = []
    for start in range(0, len(task), _ROWS):
        rows = slice(start, start + _ROWS)
        found = session.run(["logits", "probabilities"], {schema.name: history.pairs(mine[rows], schema.codes)})
        logits, probabilities = (values[:, places] for values in found)
        if len(items) < len(schema.items):
            probabilities /= probabilities.sum(axis=1, keepdims=True)
        parts.append(_judge_rows(logits, probabilities, _of(task, rows), len(items)))
    return _joined(parts)


def measured(judged: Judged, *, purchases: int) -> Measured:
    """The figures of a graph, means over the customers."""
    return Measured(
        **_figures(judged.whole, judged.new),
        customers=len(judged.whole.ndcg),
        customers_with_new=len(judged.new.ndcg),
        purchases=purchases,
        log_loss=judged.log_loss.mean(),
        log_loss_uncalibrated=judged.log_loss_uncalibrated.mean(),
        top_10_probability=min(judged.top_probability.mean(), 1.0),  # sums of float32
        top_10_share=min(judged.top_share.mean(), 1.0),
    )


def compare(judged: Judged, others: Sequence[Reached], *, purchases: int) -> Ranking:
    """The figures of a graph for its manifest, beside those of simpler methods on the same customers."""
    own = measured(judged, purchases=purchases)
    return Ranking(**own.model_dump(), baselines={one.name: _baseline(one, judged) for one in others})


def check(found: Ranking, *, where: str) -> None:
    """Refuse a model that is behind the best baseline in NDCG@10 or recall@20, beyond what chance explains.

    Raises:
        Refusal: the whole 95 % interval of a difference lies below 0.
    """
    for figure in ("ndcg_at_10", "recall_at_20"):
        name, best = max(found.baselines.items(), key=lambda item: float(getattr(item[1], figure)))
        if getattr(best.ahead, figure)[1] < 0.0:
            expected = f'the {getattr(best, figure):.4f} of {name}, or baskets.below_baseline = "publish"'
            raise Refusal(where, figure, expected=expected, found=f"{getattr(found, figure):.4f}")


def _judge_rows(logits: Floats, probabilities: Floats, task: Task, items: int) -> Judged:
    wanted = logit.wanted(task, items).astype(np.float64)
    ranked = ranking.first(logits)
    seen = histories.of_rows(task, slice(None), items).seen
    with np.errstate(divide="ignore"):
        surprise = np.where(wanted > 0, -np.log(probabilities.astype(np.float64)), 0.0)
    top = ranked[:, :_TOP]
    return Judged(
        whole=ranking.judge(ranked, task.baskets),
        new=ranking.judge_new(logits, task.baskets, seen),
        log_loss=(wanted * surprise).sum(axis=1),
        log_loss_uncalibrated=_cross_entropy(logits.astype(np.float64), wanted),
        top_probability=np.take_along_axis(probabilities, top, axis=1).sum(axis=1, dtype=np.float64),
        top_share=np.take_along_axis(wanted, top, axis=1).sum(axis=1),
    )


def _cross_entropy(logits: Floats, wanted: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - (wanted * shifted).sum(axis=1))


def _of(task: Task, rows: slice) -> Task:
    return Task(task.day, task.past, task.customers[rows], task.baskets[rows])


def _joined(parts: Sequence[Judged]) -> Judged:
    return Judged(
        ranking.joined([one.whole for one in parts]),
        ranking.joined([one.new for one in parts]),
        *(np.concatenate([getattr(one, name) for one in parts]) for name in _OTHERS),
    )


def _baseline(one: Reached, judged: Judged) -> Baseline:
    return Baseline(
        **_figures(one.whole, one.new),
        setting=one.setting,
        ahead=Ahead(
            ndcg_at_10=paired.mean_interval(judged.whole.ndcg - one.whole.ndcg),
            recall_at_20=paired.mean_interval(judged.whole.recall - one.whole.recall),
            new_ndcg_at_10=paired.mean_interval(judged.new.ndcg - one.new.ndcg) if len(one.new.ndcg) else None,
        ),
    )


def _figures(whole: Ranked, new: Ranked) -> dict[str, float | None]:
    ndcg, recall = whole.means
    new_ndcg, new_recall = new.means if len(new.ndcg) else (None, None)
    ndcg = min(ndcg, 1.0)  # a quotient of equal sums may be a hair above
    return {"ndcg_at_10": ndcg, "recall_at_20": recall, "new_ndcg_at_10": new_ndcg, "new_recall_at_20": new_recall}
