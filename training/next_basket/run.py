"""The steps of a run on purchases, in order: read, choose, fit, calibrate, export, judge once, publish."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipmax.inputs import HistoryInput
from clipmax.labels import INLINE
from clipmax.refusal import Refusal
from training import calibration, runtime
from training.config import EventSource, Run
from training.data import baskets
from training.data.baskets import Events, Task
from training.next_basket import baselines, choice, graph, judging, logit, publishing
from training.next_basket import bought as histories
from training.next_basket.baselines import BASELINES, LOGIT
from training.next_basket.bought import Past
from training.next_basket.graph import NextBasket
from training.next_basket.logit import Logit
from training.next_basket.publishing import SECTIONS

INPUT = "history"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model and how it was chosen.

    Args:
        logit: fitted on everything before the test.
        window: days of recent popularity.
        temperature: of the validation split.
    """

    logit: Logit
    window: float
    temperature: float


def train(run: Run, *, say: Say = print) -> Path:
    """From a file of purchases to a published version; returns its folder.

    Raises:
        Refusal: a section that means nothing here, whatever `baskets.read` refuses, more than 10,000 items, torch and
            onnxruntime disagree, or a model that is behind the best baseline.
    """
    _check_sections(run)
    runtime.prepare(run.threads)
    assert isinstance(run.data, EventSource)  # noqa: S101  # callers have looked
    events = baskets.read(run.data)
    _check_size(run.data, events)
    _say_data(events, say)
    fitted = fit(events)
    say(f"fitted: {_describe(fitted)}")
    schema = _schema(events, run)
    module = NextBasket(fitted.logit, temperature=fitted.temperature, oldest=schema.maximum).eval()
    content = graph.to_onnx(module, schema)
    instances = publishing.instances(events.test, schema)
    graph.check_parity(content, module, schema, [*instances, *publishing.asked(events.test, schema)])
    others = [baselines.reach(name, events) for name in BASELINES if name != LOGIT]
    judged = judging.judge(content, schema, events.test)
    found = judging.compare(judged, others, purchases=len(events.test.past))
    for line in publishing.lines(found):
        say(line)
    if run.baskets.below_baseline == "refuse":
        judging.check(found, where=run.name)
    made = publishing.Made(
        run=run,
        events=events,
        fingerprint=fingerprint(events),
        fitted=fitted.logit,
        window=fitted.window,
        temperature=fitted.temperature,
        schema=schema,
        module=module,
        graph=content,
        ranking=found,
        instances=instances,
    )
    return publishing.publish(made)


def fit(events: Events) -> Fitted:
    """Choose the days of popularity and the temperature on validation, then fit on everything before the test."""
    items = len(events.items)
    window = baselines.choose(BASELINES[LOGIT], events.validation, items)
    temperature = _temperature(_past(events.validation, items), events.validation, window)
    return Fitted(logit.fit(_past(events.test, items), window), window, temperature)


def fingerprint(events: Events) -> str:
    """SHA-256 over the items and every purchase, day and basket of the splits."""
    digest = hashlib.sha256("\n".join(events.items).encode())
    past = events.test.past
    for array in (past.customers, past.baskets, past.items, past.days):
        digest.update(np.ascontiguousarray(array).tobytes())
    for task in (events.validation, events.test):
        digest.update(np.float64(task.day).tobytes())
        digest.update(task.customers.tobytes())
        for basket in task.baskets:
            digest.update(np.int64(len(basket)).tobytes() + basket.tobytes())
    return digest.hexdigest()


def _past(task: Task, items: int) -> Past:
    return Past(task.past, items, task.day)


def _temperature(past: Past, task: Task, window: float) -> float:
    """Of a model that knows nothing of the task's baskets, by their log loss."""
    model = logit.fit(past, window)
    parts = [
        (model.scores(bought).astype(np.float64), logit.wanted(_rows(task, rows), past.items))
        for rows, bought in histories.chunks(task, past.items)
    ]
    return calibration.fit_from_derivatives(lambda beta: _derivatives(parts, beta), len(task))


def _derivatives(parts: Sequence[tuple[choice.Floats, choice.Floats]], beta: float) -> tuple[float, float]:
    """Of the mean log loss in β: the expected logit less that of what was bought, and the logits' variance."""
    slope = curvature = 0.0
    for logits, wanted in parts:
        chances = np.exp(beta * (logits - logits.max(axis=1, keepdims=True)))
        chances /= chances.sum(axis=1, keepdims=True)
        means = (chances * logits).sum(axis=1)
        slope += float((means - (wanted * logits).sum(axis=1)).sum())
        curvature += float((chances * (logits - means[:, None]) ** 2).sum())
    rows = sum(len(logits) for logits, _ in parts)
    return slope / rows, curvature / rows


def _rows(task: Task, rows: slice) -> Task:
    return Task(task.day, task.past, task.customers[rows], task.baskets[rows])


def _schema(events: Events, run: Run) -> HistoryInput:
    oldest = float(np.ceil(events.test.day - events.test.past.days[0]))
    return HistoryInput(name=INPUT, items=events.items, max_length=run.baskets.max_history, maximum=oldest)


def _check_sections(run: Run) -> None:
    """A value that changes nothing would be taken for one that does."""
    for name in sorted(run.model_fields_set - SECTIONS):
        expected = f"only {', '.join(sorted(SECTIONS - {'name', 'models', 'runs'}))} where data are purchases"
        raise Refusal(run.name, name, expected=expected, found="this section")


def _check_size(source: EventSource, events: Events) -> None:
    if len(events.items) > INLINE:
        expected = f"at most {INLINE:,} for a model that answers all of them"
        raise Refusal(source.file, "items", expected=expected, found=f"{len(events.items):,}")


def _say_data(events: Events, say: Say) -> None:
    say(f"{len(events.items):,} items, {len(events.test.past):,} purchases before the test")
    for reason, count in events.left_out.items():
        if count:
            say(f"data: {count:,} rows {reason} left out")


def _describe(fitted: Fitted) -> str:
    weights = ", ".join(
        f"{name} {weight:.3f}" for name, weight in zip(logit.FEATURES, fitted.logit.weights.tolist(), strict=True)
    )
    return f"{weights}; popularity of {fitted.window:g} days, temperature {fitted.temperature:.3f}"
