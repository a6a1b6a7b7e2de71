"""A judged model of next baskets → an artifact with its golden examples, figures and report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from clipmax import files, manifest
from clipmax.history import History
from clipmax.inputs import HistoryInput, tensors
from clipmax.manifest import FULL_OUTPUTS, MODEL_FILE
from clipmax.ranking import Figures, Ranking
from clipmax.refusal import Refusal
from clipmax.repository import Repository
from training import provenance
from training.config import Run
from training.data.baskets import Events, Task
from training.next_basket import bought as histories
from training.next_basket import graph
from training.next_basket.graph import NextBasket
from training.next_basket.logit import Logit
from training.report import baskets as report

SECTIONS = frozenset({"name", "seed", "threads", "models", "runs", "data", "baskets"})
"""What of a run's file a model of purchases knows; the seed changes nothing, because there is no chance in it."""

_GOLDEN_ROWS = 12
_GOLDEN_LENGTH = 50
_ASKED = 64
_UNKNOWN = "\ue000"
"""An item that no shop sells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a run on purchases has ended with, ready to become an artifact."""

    run: Run
    events: Events
    fingerprint: str
    fitted: Logit
    window: float
    temperature: float
    schema: HistoryInput
    module: NextBasket
    graph: bytes
    ranking: Ranking
    instances: Sequence[Mapping[str, Any]]


def publish(made: Made) -> Path:
    """Write the next version and make it visible; returns its folder.

    Raises:
        Refusal: there is no room or leave to write it.
    """

    def write(folder: Path, version: int) -> None:
        for name, content in {MODEL_FILE: made.graph, **report.files(_report(made, version))}.items():
            (folder / name).write_bytes(content)
        manifest.write(folder, _document(made, version, folder))

    repository = Repository(made.run.models)
    try:
        return repository.publish(made.run.name, write)
    except OSError as error:
        found = error.strerror or str(error)
        raise Refusal(repository.root, "models", expected="room and leave to write a version", found=found) from error


def instances(task: Task, schema: HistoryInput) -> list[dict[str, Any]]:
    """Golden examples: short histories of the test split, and every odd one: nothing, unknown, beyond both ends."""
    short = (one for one in histories.histories(task, schema.items) if len(one.items) <= _GOLDEN_LENGTH)
    first, last = schema.items[0], schema.items[-1]
    odd = [
        History([], []),
        History([_UNKNOWN], [1.0]),
        History([first, _UNKNOWN, last], [0.0, 1.0, schema.maximum]),
        History([first, last], [-1.0, 10.0 * schema.maximum]),
        History([first] * _GOLDEN_LENGTH, [float(day) for day in range(_GOLDEN_LENGTH)]),
    ]
    return [_instance(one) for one in (*islice(short, _GOLDEN_ROWS), *odd)]


def asked(task: Task, schema: HistoryInput) -> Iterator[dict[str, Any]]:
    """Some of the test split's customers as a client would ask about them, as far as a request may."""
    for one in islice(histories.histories(task, schema.items), _ASKED):
        newest = slice(-schema.max_length, None)
        yield _instance(History(one.items[newest], one.days_ago[newest]))


def lines(found: Ranking) -> list[str]:
    """The figures for a person."""
    best = found.best_baseline
    low, high = found.baselines[best].ahead.ndcg_at_10
    return [
        f"test: next baskets of {found.customers:,} customers: {_line(found)}, log loss {found.log_loss:.4f}",
        f"best baseline, {best}: {_line(found.baselines[best])}; ahead of it in NDCG@10 by {low:.4f} to {high:.4f}",
    ]


def _line(one: Figures) -> str:
    new = "" if one.new_ndcg_at_10 is None else f" (new: {one.new_ndcg_at_10:.4f}, {one.new_recall_at_20:.4f})"
    return f"NDCG@10 {one.ndcg_at_10:.4f}, recall@20 {one.recall_at_20:.4f}{new}"


def _instance(one: History) -> dict[str, Any]:
    return {"items": list(one.items), "days_ago": [round(days, 2) for days in one.days_ago]}


def _golden(made: Made) -> list[dict[str, Any]]:
    inputs = tensors((made.schema,), made.instances)
    _, probabilities = graph.run(made.module, inputs[made.schema.name])
    return [
        {"instance": instance, "probabilities": row.tolist()}
        for instance, row in zip(made.instances, probabilities, strict=True)
    ]


def _document(made: Made, version: int, folder: Path) -> dict[str, Any]:
    run, events = made.run, made.events
    steps = max(1, made.fitted.steps)
    members = provenance.members(run, version, files.records(folder), epochs=steps, best_epoch=steps)
    return {
        **members,
        "training": {**members["training"], "configuration": _configuration(run)},
        "inputs": [made.schema.model_dump(mode="json")],
        "outputs": list(FULL_OUTPUTS),
        "labels": list(events.items),
        "temperature": made.temperature,
        "ranking": made.ranking.model_dump(mode="json"),
        "data": {"fingerprint": made.fingerprint, "files": dict(events.files), "rows": _rows(made)},
        "golden": _golden(made),
    }


def _configuration(run: Run) -> dict[str, Any]:
    """Without what means nothing here."""
    return {name: value for name, value in provenance.portable(run).items() if name in SECTIONS}


def _rows(made: Made) -> dict[str, int]:
    """Customers whose next basket was asked for."""
    return {"train": made.fitted.customers, "validation": len(made.events.validation), "test": len(made.events.test)}


def _report(made: Made, version: int) -> report.BasketsReport:
    return report.BasketsReport(
        name=made.run.name,
        version=version,
        created=datetime.now(UTC).replace(microsecond=0),
        items=len(made.events.items),
        temperature=made.temperature,
        window=made.window,
        weights=made.fitted.weights.tolist(),
        test=made.ranking,
        rows=_rows(made),
        left_out=dict(made.events.left_out),
        fingerprint=made.fingerprint,
        files=dict(made.events.files),
        configuration=_configuration(made.run),
        environment=report.environment(),
    )
