"""A graph, and what customers bought before and after → its figures, customer by customer, and against others'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipmax import history
from clipmax.inputs import HistoryInput
from clipmax.ranking import Ahead, Baseline, Ranking
from clipmax.refusal import Refusal
from training import answers
from training.data.baskets import Task
from training.next_basket import bought as histories
from training.next_basket import logit, ranking
from training.next_basket.baselines import Reached
from training.next_basket.ranking import Ranked

_ROWS = 256
_TOP = 10

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a graph gave R customers.

    Args:
        whole: figures over all items.
        new: over items that the customer never bought, of those who bought one next.
        log_loss: mean over customers, in nats, after temperature.
        log_loss_uncalibrated: before it.
        top_probability: that the graph gives its ten likeliest items together, mean over customers.
        top_share: of the baskets that these ten are, mean over customers.
    """

    whole: Ranked
    new: Ranked
    log_loss: float
    log_loss_uncalibrated: float
    top_probability: float
    top_share: float


def judge(graph: bytes, schema: HistoryInput, task: Task) -> Judged:
    """Answer every customer of a task by onnxruntime, and compare with what was bought."""
    session = answers.session(graph)
    mine = list(histories.histories(task, schema.items))
    parts = []
    for start in range(0, len(task), _ROWS):
        rows = slice(start, start + _ROWS)
        found = session.run(["logits", "probabilities"], {schema.name: history.pairs(mine[rows], schema.codes)})
        parts.append(_judge_rows(found[0], found[1], _of(task, rows), len(schema.items)))
    shares = np.array([len(task.customers[start : start + _ROWS]) for start in range(0, len(task), _ROWS)]) / len(task)
    means = shares @ np.array([one.means for one in parts])
    return Judged(_joined([one.whole for one in parts]), _joined([one.new for one in parts]), *means.tolist())


def compare(judged: Judged, others: Sequence[Reached], *, purchases: int) -> Ranking:
    """The figures of a graph for its manifest, beside those of simpler methods on the same customers."""
    return Ranking(
        **_figures(judged.whole, judged.new),
        customers=len(judged.whole.ndcg),
        customers_with_new=len(judged.new.ndcg),
        purchases=purchases,
        log_loss=judged.log_loss,
        log_loss_uncalibrated=judged.log_loss_uncalibrated,
        top_10_probability=min(judged.top_probability, 1.0),  # sums of float32
        top_10_share=judged.top_share,
        baselines={one.name: _baseline(one, judged) for one in others},
    )


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


@dataclass(frozen=True, slots=True)
class _Part:
    whole: Ranked
    new: Ranked
    means: tuple[float, float, float, float]


def _judge_rows(logits: Floats, probabilities: Floats, task: Task, items: int) -> _Part:
    wanted = logit.wanted(task, items).astype(np.float64)
    ranked = ranking.first(logits)
    seen = histories.of_rows(task, slice(None), items).seen
    with np.errstate(divide="ignore"):
        surprise = np.where(wanted > 0, -np.log(probabilities.astype(np.float64)), 0.0)
    top = ranked[:, :_TOP]
    return _Part(
        ranking.judge(ranked, task.baskets),
        ranking.judge_new(logits, task.baskets, seen),
        (
            float((wanted * surprise).sum(axis=1).mean()),
            _cross_entropy(logits.astype(np.float64), wanted),
            float(np.take_along_axis(probabilities, top, axis=1).sum(axis=1, dtype=np.float64).mean()),
            float(np.take_along_axis(wanted, top, axis=1).sum(axis=1).mean()),
        ),
    )


def _cross_entropy(logits: Floats, wanted: Floats) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - (wanted * shifted).sum(axis=1)).mean())


def _of(task: Task, rows: slice) -> Task:
    return Task(task.day, task.past, task.customers[rows], task.baskets[rows])


def _joined(parts: Sequence[Ranked]) -> Ranked:
    return Ranked(np.concatenate([one.ndcg for one in parts]), np.concatenate([one.recall for one in parts]))


def _baseline(one: Reached, judged: Judged) -> Baseline:
    return Baseline(
        **_figures(one.whole, one.new),
        setting=one.setting,
        ahead=Ahead(
            ndcg_at_10=ranking.difference(one.whole.ndcg, judged.whole.ndcg),
            recall_at_20=ranking.difference(one.whole.recall, judged.whole.recall),
            new_ndcg_at_10=ranking.difference(one.new.ndcg, judged.new.ndcg) if len(one.new.ndcg) else None,
        ),
    )


def _figures(whole: Ranked, new: Ranked) -> dict[str, float | None]:
    ndcg, recall = whole.means
    new_ndcg, new_recall = new.means if len(new.ndcg) else (None, None)
    ndcg = min(ndcg, 1.0)  # a quotient of equal sums may be a hair above
    return {"ndcg_at_10": ndcg, "recall_at_20": recall, "new_ndcg_at_10": new_ndcg, "new_recall_at_20": new_recall}
