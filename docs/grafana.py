"""A Grafana board's file and a Prometheus → what each panel would show: variables, intervals, legends, tables."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

Json = dict[str, Any]
Labels = Mapping[str, str]
Row = dict[str, Any]

COLUMNS = 24
LEAST_RATE_SCRAPES = 4  # Grafana's $__rate_interval is at least so many scrapes long
ALL = "$__all"


@dataclass(frozen=True, slots=True)
class Span:
    """What the board looks at.

    Attributes:
        begin, end: seconds since 1970.
        scrape: seconds between two scrapes, as the data source is told them.
    """

    begin: float
    end: float
    scrape: float

    @property
    def step(self) -> float:
        """Seconds between two points: none is asked for twice within a scrape."""
        return max(self.scrape, float(math.ceil((self.end - self.begin) / 400)))

    @property
    def variables(self) -> dict[str, str]:
        """Grafana's own."""
        rate = max(self.step + self.scrape, LEAST_RATE_SCRAPES * self.scrape)
        return {
            "__rate_interval": f"{rate:g}s",
            "__interval": f"{self.step:g}s",
            "__range": f"{self.end - self.begin:g}s",
        }


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Its HTTP API.

    Attributes:
        url: where it listens.
        scrape: seconds between two scrapes.
    """

    url: str
    scrape: float

    def _ask(self, path: str, **parameters: Any) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30)
        answer.raise_for_status()
        return answer.json()["data"]

    def instant(self, query: str, at: float | None = None) -> list[Json]:
        """Series with one `value` each; `httpx.HTTPStatusError` if the query is not understood."""
        found: list[Json] = self._ask("query", query=query, **({} if at is None else {"time": at}))["result"]
        return found

    def range(self, query: str, span: Span) -> list[Json]:
        """Series with `values`, at multiples of the step as Grafana aligns them."""
        begin, end = (math.floor(edge / span.step) * span.step for edge in (span.begin, span.end))
        found: list[Json] = self._ask("query_range", query=query, start=begin, end=end, step=span.step)["result"]
        return found

    def label_values(self, label: str, selector: str) -> list[str]:
        found: list[str] = self._ask(f"label/{label}/values", **{"match[]": selector})
        return found


@dataclass(frozen=True, slots=True)
class Series:
    """One line, bar, number or, of a heatmap, bucket.

    Attributes:
        name: by the legend's format.
        labels: as Prometheus gave them.
        target: the panel's query, by its letter.
        points: seconds and values; an instant query has one.
    """

    name: str
    labels: Labels
    target: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Shown:
    """One panel with what it shows; a row of the board shows nothing."""

    panel: Json
    series: tuple[Series, ...] = ()
    table: tuple[Row, ...] = ()

    @property
    def is_empty(self) -> bool:
        """No value that is a number."""
        return not self.table and not any(math.isfinite(value) for one in self.series for _, value in one.points)


def look(board: Json, prometheus: Prometheus, span: Span) -> Iterator[Shown]:
    """Every panel, from the top, with everything chosen in the board's variables."""
    options = options_of(board, prometheus, span)
    for panel, chosen in repeated(board, options):
        yield show(panel, {**chosen, **span.variables}, prometheus, span)


def options_of(board: Json, prometheus: Prometheus, span: Span) -> dict[str, list[str]]:
    """What the board's variables may be, in their order, each asked with everything chosen before it."""
    found: dict[str, list[str]] = {}
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert asked is not None, variable["query"]
            selector = substituted(asked[1], {**everything(board), **span.variables})
            found[variable["name"]] = sorted(prometheus.label_values(asked[2], selector))
    return found


def everything(board: Json) -> dict[str, str]:
    """The variables' values where `All` is chosen."""
    variables = board["templating"]["list"]
    return {one["name"]: one["allValue"] for one in variables if one["type"] == "query"}


def repeated(board: Json, options: Mapping[str, Sequence[str]]) -> Iterator[tuple[Json, dict[str, str]]]:
    """The panels where Grafana puts them, with the values of their variables: a row's `repeat` makes it one a value."""
    below = 0
    for row in _rows(board["panels"]):
        name = row[0].get("repeat")
        height = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in row) - row[0]["gridPos"]["y"]
        choices = [{name: value} for value in options[name]] if name else [{}]
        for choice in choices:
            exactly = {one: re.escape(value) for one, value in choice.items()}
            for panel in row:
                yield _moved(panel, below, choice), everything(board) | exactly
            below += height
        below -= height


def _moved(panel: Json, below: int, choice: Labels) -> Json:
    made = copy.deepcopy(panel)
    made["gridPos"]["y"] += below
    made["title"] = substituted(made["title"], choice)
    return made


def _rows(panels: Sequence[Json]) -> list[list[Json]]:
    """Each row with the panels under it."""
    found: list[list[Json]] = []
    for panel in panels:
        if panel["type"] == "row" or not found:
            found.append([])
        found[-1].append(panel)
    return found


def substituted(query: str, variables: Labels) -> str:
    """With values for `$name`; KeyError if there is no such variable."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: variables[found[1]], query)


def show(panel: Json, variables: Labels, prometheus: Prometheus, span: Span) -> Shown:
    """Ask all queries of a panel."""
    series: list[Series] = []
    for target in panel.get("targets", ()):
        query = substituted(target["expr"], variables)
        is_instant = target.get("instant", False)
        answer = prometheus.instant(query, span.end) if is_instant else prometheus.range(query, span)
        series += [_series(one, target) for one in answer]
    if panel["type"] == "table":
        return Shown(panel, table=tuple(table_of(panel, series)))
    return Shown(panel, tuple(buckets_of(series)) if panel["type"] == "heatmap" else tuple(series))


def _series(answer: Json, target: Json) -> Series:
    values = answer.get("values") or [answer["value"]]
    points = [(float(at), float(value)) for at, value in values]
    return Series(legend(target["legendFormat"], answer["metric"]), answer["metric"], target["refId"], points)


def legend(pattern: str, labels: Labels) -> str:
    """Grafana's `{{label}}`; a label that is not there is nothing."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), pattern)


def buckets_of(series: Sequence[Series]) -> list[Series]:
    """Of a histogram's cumulated buckets what is in each alone, the lowest first."""
    rising = sorted(series, key=lambda one: float(one.labels["le"]))
    found = []
    below: dict[float, float] = {}
    for one in rising:
        points = [(at, max(0.0, value - below.get(at, 0.0))) for at, value in one.points]
        found.append(Series(one.name, one.labels, one.target, points))
        below = dict(one.points)
    return found


def table_of(panel: Json, series: Sequence[Series]) -> list[Row]:
    """The queries' answers side by side, with the columns that the board wants, as it calls them."""
    several = len(panel["targets"]) > 1
    frames: dict[str, list[Row]] = {}
    for one in series:
        value = {f"Value #{one.target}" if several else "Value": one.points[-1][1]}
        frames.setdefault(one.target, []).append({"Time": one.points[-1][0], **one.labels, **value})
    rows = _merged(list(frames.values()))
    names = list(dict.fromkeys(name for row in rows for name in row))
    rows = [{name: row.get(name) for name in names} for row in rows]
    for transformation in panel.get("transformations", ()):
        if transformation["id"] == "organize":
            rows = [_organized(row, transformation["options"]) for row in rows]
    return _sorted(rows, panel["options"].get("sortBy", []))


def _sorted(rows: list[Row], orders: Sequence[Json]) -> list[Row]:
    for order in reversed(orders):
        column = order["displayName"]
        rows = sorted(rows, key=lambda row: str(row[column]), reverse=order["desc"])
    return rows


def _merged(frames: Sequence[Sequence[Row]]) -> list[Row]:
    """As `merge` does: rows become one that agree in all columns that every answer has, and contradict in none."""
    every = [set().union(*frame) for frame in frames]
    keys = set.intersection(*every) if every else set()
    found: list[Row] = []
    for row in (row for frame in frames for row in frame):
        fits = [one for one in found if all(one.get(key) == row.get(key) for key in keys)]
        fits = [one for one in fits if all(one.get(name, value) == value for name, value in row.items())]
        for one in fits:
            one.update(row)
        if not fits:
            found.append(dict(row))
    return found


def _organized(row: Row, options: Json) -> Row:
    order = options["indexByName"]
    kept = [name for name in row if not options["excludeByName"].get(name)]
    kept.sort(key=lambda name: order.get(name, len(order)))
    return {options["renameByName"].get(name, name): row[name] for name in kept}
