"""Sums → the text that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from service.engine.catalog import State, Version
from service.engine.session import Session
from service.telemetry import drift, layout, metric, route
from service.telemetry.meter import Floats
from service.telemetry.metric import Metric
from service.telemetry.sums import Facts, Taken

PROVIDERS = ("cpu", "cuda", "tensorrt")
REST = "other"
"""Stands for all labels, or all versions, that are not counted one by one."""

_FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
_NEVER_OF_A_VERSION = frozenset({"204", "401", "404", "405", "431", route.OTHER})
_HISTOGRAMS = {
    metric.QUEUE_WAIT: "queue_wait",
    metric.ROWS: "rows",
    metric.INFERENCE: "inference",
    metric.CONFIDENCE: "confidence",
    metric.ENTROPY: "entropy",
}
_ALWAYS = frozenset({"200", "401", "404", "500"})


def render(accept: str, taken: Taken, facts: Sequence[Facts], versions: Sequence[Version]) -> tuple[str, bytes]:
    """Media type and text, in the newest format that the `Accept` header takes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ready(_Page(taken, facts, versions).families))
    encode, media_type = choose_encoder(accept)
    return media_type, encode(registry)


class _Ready(Collector):
    def __init__(self, families: dict[Metric, Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families.values()


class _Page:
    """One scrape."""

    def __init__(self, taken: Taken, facts: Sequence[Facts], versions: Sequence[Version]) -> None:
        self.families: dict[Metric, Family] = {
            one: _FAMILIES[one.kind](one.name, one.meaning, labels=one.labels) for one in metric.METRICS
        }
        self._add_worker(taken.worker)
        for (name, number), cell in taken.versions.items():
            self._add_version((name, str(number)), cell)
        if taken.rest.any():
            self._add_version((REST, ""), taken.rest)
        for one in _newest(facts):
            if one.key in taken.words:
                self._add_labels(one, taken.words[one.key].labels)
                self._add_drift(one, taken.words[one.key].window)
        for found in _by_version(versions):
            self._add_states(found)

    def _add(self, one: Metric, labels: Sequence[str], value: float) -> None:
        self.families[one].add_metric(labels, value)  # type: ignore[attr-defined]  # of the family's own class

    def _add_histogram(self, one: Metric, labels: Sequence[str], block: Floats) -> None:
        """Counts of buckets, of what lies above, and the sum."""
        bounds = [*map(floatToGoString, one.buckets), "+Inf"]
        buckets = list(zip(bounds, accumulate(block[:-1].tolist()), strict=True))
        self.families[one].add_metric(labels, buckets, float(block[-1]))  # type: ignore[attr-defined]  # as above

    def _add_worker(self, cell: Floats) -> None:
        view = layout.WORKER.view
        for one, value in zip(layout.GAUGES, view(cell, "gauges").tolist(), strict=True):
            self._add(one, (), value)
        self._add(metric.STARTS, (), float(view(cell, "starts")[0]))
        self._add(metric.ABANDONED, (), float(view(cell, "abandoned")[0]))
        for code, value in zip(layout.CODES, view(cell, "problems").tolist(), strict=True):
            self._add(metric.PROBLEMS, (code,), value)
        self._add_requests(route.TEMPLATES, ("", ""), view(cell, "requests"), _ALWAYS.__contains__)
        self._add_latency(route.TEMPLATES, ("", ""), view(cell, "latency"), is_sparse=True)

    def _add_requests(
        self, routes: Sequence[str], version: tuple[str, str], block: Floats, is_shown: Callable[[str], bool]
    ) -> None:
        """What can be is there at 0; what cannot is not, unless it was."""
        for template, counts in zip(routes, block.tolist(), strict=True):
            for status, count in zip(layout.shown_statuses(), counts, strict=True):
                if count or is_shown(status):
                    self._add(metric.REQUESTS, (template, status, *version), count)

    def _add_latency(
        self, routes: Sequence[str], version: tuple[str, str], block: Floats, *, is_sparse: bool = False
    ) -> None:
        for template, classes in zip(routes, block, strict=True):
            for status, counts in zip(layout.CLASSES, classes, strict=True):
                if not is_sparse or counts.any():
                    self._add_histogram(metric.LATENCY, (template, status, *version), counts)

    def _add_version(self, version: tuple[str, str], cell: Floats) -> None:
        view = layout.VERSION.view
        self._add_requests(route.PREDICT, version, view(cell, "requests"), lambda one: one not in _NEVER_OF_A_VERSION)
        self._add_latency(route.PREDICT, version, view(cell, "latency"))
        for one, block in _HISTOGRAMS.items():
            self._add_histogram(one, version, view(cell, block))
        for one, count in zip(layout.REMARKS, view(cell, "remarks").tolist(), strict=True):
            self._add(one, version, count)

    def _add_labels(self, facts: Facts, labels: Floats) -> None:
        key, counts = facts.key, labels.tolist()
        shown = zip(facts.labels, counts, strict=False)
        for label, count in [*shown, *([(REST, counts[-1])] if facts.has_rest else [])]:
            self._add(metric.PREDICTIONS, (key.name, str(key.number), label), count)

    def _add_drift(self, facts: Facts, window: Floats) -> None:
        version = (facts.key.name, str(facts.key.number))
        self._add(metric.DRIFT_ROWS, version, float(window[: layout.LABELS + 1].sum()))
        for name, (start, shares) in facts.expected.items():
            found = drift.measure(window[start : start + len(shares)], shares, facts.reference_rows)
            self._add(metric.DRIFT, (*version, name), found.psi)
            self._add(metric.DRIFT_NOISE, (*version, name), found.noise)
            self._add(metric.DRIFT_LIMIT, (*version, name), found.limit)

    def _add_states(self, found: Sequence[Version]) -> None:
        """Of one number there can be two: one that serves and one, overwritten, that drains."""
        version = (found[0].name, str(found[0].number))
        for state in State:
            self._add(metric.STATE, (*version, str(state)), float(any(one.state is state for one in found)))
        for one in found:
            if one.reason is not None:
                self._add(metric.REFUSED, (*version, one.reason.field), 1.0)
            if one.session is not None:
                self._add_session(version, one.session)

    def _add_session(self, version: tuple[str, str], session: Session) -> None:
        for provider in PROVIDERS:
            self._add(metric.PROVIDER, (*version, provider), float(session.provider == provider))
        self._add(metric.DEGRADED, version, float(session.degraded))
        reached = session.manifest.metrics
        if reached is not None:
            self._add(metric.ACCURACY, version, reached.accuracy)
            self._add(metric.ECE, version, reached.ece)
            self._add(metric.LOG_LOSS, version, reached.log_loss)


def _newest(facts: Sequence[Facts]) -> Iterable[Facts]:
    """The last ones that came of each version."""
    return {one.key[:2]: one for one in facts}.values()


def _by_version(versions: Sequence[Version]) -> Iterable[list[Version]]:
    found: dict[tuple[str, int], list[Version]] = {}
    for one in versions:
        found.setdefault((one.name, one.number), []).append(one)
    return found.values()
