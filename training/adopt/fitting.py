"""Rows that were not trained on, and a graph → its temperature, its promises and, on yet other rows, its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from clipmax.abstention import Abstention
from clipmax.conformal import Tables
from clipmax.inputs import Input, Tensor
from clipmax.manifest import Metrics
from clipmax.reference import Reference
from training import abstention, calibration, conformal, metrics, reference
from training.adopt.running import Graph
from training.data.dataset import Indices, Split, halves


@dataclass(frozen=True, slots=True)
class Labelled:
    """Tensors by input name, and the true classes: int64 [rows]."""

    tensors: Mapping[str, Tensor]
    labels: Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A graph with its temperature in it, and what was measured of it. None: there was no data for it."""

    content: bytes
    temperature: float = 1.0
    metrics: Metrics | None = None
    conformal: Tables | None = None
    abstention: Abstention | None = None
    reference: Reference | None = None


def fit(
    build: Callable[[float], bytes],
    inputs: tuple[Input, ...],
    *,
    validation: Labelled | None,
    test: Labelled | None,
    risk: float,
) -> Fitted:
    """As after a training run: validation fits the temperature, its second half the thresholds, and test measures.

    Args:
        build: temperature → the graph.
        inputs: the schema.
        validation: rows to fit on.
        test: rows to measure on.
        risk: chosen share of wrong answers among the accepted.
    """
    temperature = 1.0 if validation is None else _temperature(build(1.0), validation)
    content = build(temperature)
    graph = Graph(content, "graph")
    figures = None
    if test is not None:
        (logits,) = graph.run(["logits"], test.tensors)
        figures = metrics.evaluate(logits, test.labels, temperature)
    fitted = Fitted(content=content, temperature=temperature, metrics=figures)
    return fitted if validation is None else _with_promises(fitted, graph, inputs, validation, risk=risk)


def _temperature(content: bytes, validation: Labelled) -> float:
    """Rounded to what the graph holds, so that graph and manifest agree."""
    (logits,) = Graph(content, "graph").run(["logits"], validation.tensors)
    return float(np.float32(calibration.fit_temperature(logits, validation.labels)))


def _with_promises(
    fitted: Fitted, graph: Graph, inputs: tuple[Input, ...], validation: Labelled, *, risk: float
) -> Fitted:
    logits, found = graph.run(["logits", "probabilities"], validation.tensors)
    first, second = halves(validation.labels)
    apart = calibration.apart(logits, validation.labels, fitted.temperature)
    probabilities, labels = apart[second], validation.labels[second]
    hint = (found[first], validation.labels[first])
    return replace(
        fitted,
        conformal=Tables(
            plain=conformal.fit(probabilities, labels, method="plain"),
            adaptive=conformal.fit(probabilities, labels, method="adaptive"),
        ),
        abstention=abstention.fit(probabilities, labels, risk=risk, hint=hint),
        reference=reference.fit(inputs, Split(validation.tensors, validation.labels), found),
    )
