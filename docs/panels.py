"""What the panels of a board show → one picture, laid out and coloured as Grafana does it in the dark."""

from __future__ import annotations

import math
import re
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.grafana import COLUMNS, Json, Series, Shown

WIDTH, CELL, GAP = 1600, 38, 8  # pixels: of the page, of a line of the grid, between panels
DPI = 100
PAGE, PANEL, EDGE, TEXT, FAINT = "#111217", "#181b1f", "#2c3235", "#ccccdc", "#8e8e9c"
NAMED = {
    "green": "#73bf69", "red": "#f2495c", "orange": "#ff9830", "blue": "#5794f2", "text": TEXT, "transparent": PANEL,
}  # fmt: skip
PALETTE = (
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d", "#fade2a",
    "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477", "#b7dbab", "#f4d598", "#70dbed", "#f9ba8f",
)  # fmt: skip
HEAT = LinearSegmentedColormap.from_list("oranges", [PANEL, "#7f2704", "#d94801", "#fd8d3c", "#fdd0a2"])
SMALL, USUAL, LARGE = 7.5, 9.0, 24.0  # points


def draw(shown: Sequence[Shown], path: Path) -> None:
    """One picture of a board."""
    lines = max(one.panel["gridPos"]["y"] + one.panel["gridPos"]["h"] for one in shown)
    figure = Figure(figsize=(WIDTH / DPI, lines * CELL / DPI), dpi=DPI, facecolor=PAGE)
    FigureCanvasAgg(figure)
    for one in shown:
        Frame(figure, one, lines * CELL).draw()
    figure.savefig(path)


class Frame:
    """One panel's place in the picture.

    Args:
        figure: the picture.
        shown: the panel with what it shows.
        height: of the picture, in pixels.
    """

    def __init__(self, figure: Figure, shown: Shown, height: int) -> None:
        self.figure, self.shown, self.panel, self.height = figure, shown, shown.panel, height
        place = self.panel["gridPos"]
        column = WIDTH / COLUMNS
        self.left, self.right = place["x"] * column + GAP / 2, (place["x"] + place["w"]) * column - GAP / 2
        self.top, self.bottom = place["y"] * CELL + GAP / 2, (place["y"] + place["h"]) * CELL - GAP / 2
        self.defaults: Json = self.panel.get("fieldConfig", {}).get("defaults", {})

    def draw(self) -> None:
        """The frame, its title, and inside it what the kind of the panel draws."""
        if self.panel["type"] == "row":
            self.write(self.left + 4, self.top + 18, f"⌄  {self.panel['title']}", size=11, weight="bold")
            return
        self.fill(facecolor=PANEL, edgecolor=EDGE)
        self.write(self.left + 10, self.top + 17, self.panel["title"], weight="bold")
        if self.shown.is_empty:
            middle = ((self.left + self.right) / 2, (self.top + self.bottom) / 2)
            self.write(*middle, self.defaults.get("noValue", "No data"), size=12, ha="center", color=FAINT)
        else:
            KINDS[self.panel["type"]](self)

    def fill(self, **look: Any) -> None:
        """All of the frame, behind everything else."""
        corner = (self.left / WIDTH, 1 - self.bottom / self.height)
        size = ((self.right - self.left) / WIDTH, (self.bottom - self.top) / self.height)
        transform = self.figure.transFigure
        self.figure.add_artist(Rectangle(corner, *size, transform=transform, linewidth=0.8, zorder=-1, **look))

    def write(self, x: float, y: float, text: str, *, size: float = USUAL, color: str = TEXT, **look: Any) -> None:
        """A line of text, its middle at `y` pixels from the top."""
        self.figure.text(x / WIDTH, 1 - y / self.height, text, fontsize=size, color=color, va="center", **look)

    def axes(self, left: float = 52, right: float = 14, top: float = 34, bottom: float = 30) -> Axes:
        """Inside the frame, with margins in pixels."""
        width, height = self.right - self.left - left - right, self.bottom - self.top - top - bottom
        corner = ((self.left + left) / WIDTH, 1 - (self.bottom - bottom) / self.height)
        made = self.figure.add_axes((*corner, width / WIDTH, height / self.height), facecolor="none")
        made.tick_params(colors=FAINT, labelsize=SMALL, length=0)
        made.spines[:].set_visible(False)
        return made

    def number(self, value: float) -> str:
        return written(value, self.defaults.get("unit", "none"), self.defaults.get("decimals"))

    def fixed(self, name: str, wanted: str) -> Any:
        """What the board's overrides say of a property of a series; None where they say nothing."""
        for one in self.panel["fieldConfig"]["overrides"]:
            by, pattern = one["matcher"]["id"], one["matcher"]["options"]
            if name == pattern if by == "byName" else re.fullmatch(pattern, name):
                for prop in one["properties"]:
                    if prop["id"] == wanted:
                        return prop["value"]
        return None

    def colors(self, names: Sequence[str]) -> list[str]:
        """Fixed by the board, else the palette's next."""
        fixed = [self.fixed(name, "color") for name in names]
        return [
            PALETTE[index % len(PALETTE)] if one is None else NAMED[one["fixedColor"]]
            for index, one in enumerate(fixed)
        ]

    def threshold(self, value: float) -> str:
        """The colour of the highest step that the value reaches."""
        steps = self.defaults["thresholds"]["steps"]
        reached = [one["color"] for one in steps if one["value"] is None or value >= one["value"]]
        return NAMED[reached[-1]]


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A number as Grafana writes it in one of its units."""
    if unit == "percentunit":
        return f"{_rounded(value * 100, decimals)}%"
    if unit == "s" and abs(value) < 1 and value:
        return (
            f"{_rounded(value * 1e3, decimals)} ms" if abs(value) >= 1e-3 else f"{_rounded(value * 1e6, decimals)} µs"
        )
    ends = {"s": " s", "reqps": " req/s", "rowsps": " rows/s", "none": "", "short": ""}
    return f"{_rounded(value, decimals)}{ends[unit]}"


def _rounded(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    digits = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"


def _stat(frame: Frame) -> None:
    series = frame.shown.series[0]
    value = [number for _, number in series.points if math.isfinite(number)][-1]
    mapped = _mapped(frame.defaults.get("mappings", ()), value)
    color = NAMED[mapped["color"]] if mapped else frame.threshold(value)
    is_filled = frame.panel["options"]["colorMode"] == "background"
    if is_filled:
        frame.fill(facecolor=color, alpha=0.75)
    if frame.panel["options"]["graphMode"] == "area":
        axes = frame.axes(left=0, right=0, top=70, bottom=0)
        axes.set_axis_off()
        axes.fill_between(*np.array(series.points).T, color=PALETTE[0], alpha=0.3)
        axes.set_xlim(series.points[0][0], series.points[-1][0])
        axes.set_ylim(bottom=0)
    place = ((frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2 + 8)
    text = mapped["text"] if mapped else frame.number(value)
    size = min(LARGE, 0.85 * (frame.right - frame.left) / len(text))
    frame.write(*place, text, size=size, ha="center", weight="bold", color="white" if is_filled else color)


def _mapped(mappings: Sequence[Json], value: Any) -> Any:
    """What stands for a value; a number is found by its shortest form."""
    name = f"{value:g}" if isinstance(value, float) else str(value)
    for one in mappings:
        if name in one["options"]:
            return {"text": name, **one["options"][name]}
    return None


def _timeseries(frame: Frame) -> None:
    custom = frame.defaults["custom"]
    series = [one for one in frame.shown.series if one.points]
    colors = frame.colors([one.name for one in series])
    beneath = legend_lines(series, frame.right - frame.left)
    axes = frame.axes(left=66, bottom=24 + 16 * len(beneath))
    if custom.get("drawStyle") == "bars":
        _bars(axes, series, colors, is_share=custom["stacking"]["mode"] == "percent")
    else:
        for one, color in zip(series, colors, strict=True):
            dash = frame.fixed(one.name, "custom.lineStyle")
            axes.plot(*np.array(one.points).T, color=color, linewidth=1.6, linestyle="--" if dash else "-")
    _thresholds(frame, axes)
    _scales(frame, axes)
    _legend(frame, beneath, dict(zip((one.name for one in series), colors, strict=True)))


def _bars(axes: Axes, series: Sequence[Series], colors: Sequence[str], *, is_share: bool) -> None:
    times = sorted({at for one in series for at, _ in one.points})
    found = [dict(one.points) for one in series]
    heights = np.array([[one.get(at, 0.0) for at in times] for one in found])
    if is_share:
        heights = heights / heights.sum(0)
    width = 0.8 * min(np.diff(times), default=15.0)
    for height, bottom, color in zip(heights, np.cumsum(heights, 0) - heights, colors, strict=True):
        axes.bar(times, height, width, bottom, color=color, alpha=0.8)


def _thresholds(frame: Frame, axes: Axes) -> None:
    if frame.defaults.get("custom", {}).get("thresholdsStyle", {}).get("mode") != "dashed":
        return
    for step in frame.defaults["thresholds"]["steps"]:
        if step["value"] is not None:
            axes.axhline(step["value"], color=NAMED[step["color"]], linewidth=1, linestyle=(0, (6, 4)))


def _scales(frame: Frame, axes: Axes) -> None:
    """The time below, the unit on the left."""
    low, high = axes.get_ylim()
    axes.set_ylim(frame.defaults.get("min", low), frame.defaults.get("max", max(high, 1e-9)))
    axes.grid(color=EDGE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(lambda value, _: written(value, frame.defaults.get("unit", "none")))
    axes.locator_params(axis="y", nbins=5)
    _clock(axes)


def _clock(axes: Axes) -> None:
    """Seconds since 1970 as hours and minutes."""
    begin, end = axes.get_xlim()
    minutes = max(1, round((end - begin) / 60 / 5)) * 60
    axes.set_xticks(np.arange(math.ceil(begin / minutes), math.floor(end / minutes) + 1) * minutes)
    axes.xaxis.set_major_formatter(lambda at, _: time.strftime("%H:%M", time.gmtime(at)))


def legend_lines(series: Sequence[Series], width: float) -> list[list[str]]:
    """The names in lines of a panel; after three lines Grafana's legend scrolls, and so the rest is not seen."""
    lines: list[list[str]] = [[]]
    room = width
    for name in dict.fromkeys(one.name for one in series):
        needed = 26 + 6.2 * len(name)
        if needed > room and lines[-1]:
            lines.append([])
            room = width
        lines[-1].append(name)
        room -= needed
    return lines[:3]


def _legend(frame: Frame, lines: Sequence[Sequence[str]], colors: dict[str, str]) -> None:
    for index, line in enumerate(lines):
        x, y = frame.left + 10, frame.bottom - 10 - 16 * (len(lines) - 1 - index)
        for name in line:
            frame.write(x, y, "━", color=colors[name], weight="bold")
            frame.write(x + 16, y, name, size=SMALL)
            x += 26 + 6.2 * len(name)


def _heatmap(frame: Frame) -> None:
    buckets = frame.shown.series
    times = sorted({at for one in buckets for at, _ in one.points})
    found = [dict(one.points) for one in buckets]
    counts = np.array([[one.get(at, 0.0) for at in times] for one in found])
    axes = frame.axes(bottom=24)
    step = min(np.diff(times), default=15.0)
    edges = (np.append(times, times[-1] + step) - step / 2, np.arange(len(buckets) + 1))
    axes.pcolormesh(*edges, np.ma.masked_less_equal(counts, 1e-9), cmap=HEAT, norm=PowerNorm(0.5))
    every = max(1, len(buckets) // 5)
    axes.set_yticks(np.arange(every, len(buckets) + 1, every) - 0.5, [one.name for one in buckets[every - 1 :: every]])
    _clock(axes)


def _table(frame: Frame) -> None:
    names = list(frame.shown.table[0])
    x = frame.left + 10.0
    for name, width in zip(names, _widths(frame, names), strict=True):
        frame.write(x, frame.top + 46, name, color="#6e9fff", weight="bold")
        for line, row in enumerate(frame.shown.table[: int((frame.bottom - frame.top - 60) / 30)]):
            _cell(frame, (x, frame.top + 76 + 30 * line), name, row[name], width)
        x += width


def _widths(frame: Frame, names: Sequence[str]) -> list[float]:
    """As the board fixes them; the other columns share what is left."""
    fixed = [frame.fixed(name, "custom.width") for name in names]
    left = frame.right - frame.left - 20 - sum(width for width in fixed if width is not None)
    return [left / fixed.count(None) if width is None else width for width in fixed]


def _cell(frame: Frame, place: tuple[float, float], name: str, value: Any, width: float) -> None:
    mapped = None if value is None else _mapped(frame.fixed(name, "mappings") or (), value)
    unit, decimals = frame.fixed(name, "unit") or frame.defaults.get("unit", "none"), frame.fixed(name, "decimals")
    text = frame.defaults["noValue"] if value is None else str(value)
    if isinstance(value, float):
        text = written(value, unit, decimals)
    text = mapped["text"] if mapped else text
    frame.write(*place, textwrap.shorten(" ".join(text.split()), max(5, int(width / 6.4)), placeholder="…"),
                color=NAMED[mapped["color"]] if mapped else TEXT)  # fmt: skip


def _bargauge(frame: Frame) -> None:
    series = frame.shown.series
    axes = frame.axes(left=120, right=60, bottom=14)
    values = [one.points[-1][1] for one in series]
    places = np.arange(len(series))[::-1]
    axes.barh(places, max(values), color="#22252b", height=0.7)
    axes.barh(places, values, color=[frame.threshold(value) for value in values], height=0.7)
    axes.set_yticks(places, [textwrap.shorten(one.name, 20, placeholder="…") for one in series])
    axes.tick_params(axis="y", colors=TEXT)
    axes.set_xticks([])
    for place, value in zip(places, values, strict=True):
        axes.text(max(values) * 1.03, place, frame.number(value), va="center", color=frame.threshold(value))


KINDS: dict[str, Callable[[Frame], None]] = {
    "stat": _stat, "timeseries": _timeseries, "heatmap": _heatmap, "table": _table, "bargauge": _bargauge,
}  # fmt: skip
