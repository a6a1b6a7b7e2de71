"""All figures of a run → its plots as inline SVG, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from training.report.figures import Bins, Number, Report
from training.report.svg import BACKGROUND, FAINT, FIRST, GOOD, INK, SECOND, THIRD, inline, style

SMALL_MATRIX = 20
"""Up to so many classes the page shows the confusion matrix as a table instead."""

_MARKED_EPOCHS = 30
_SIZE = (3.3, 2.5)
_SQUARE = (3.6, 3.1)
_LAYERS = (FIRST, SECOND, THIRD, GOOD, INK)
# One hue with rising opacity stands on a light and on a dark page; most rows lie on the diagonal, so the root of it.
_HEAT = LinearSegmentedColormap.from_list("heat", [(0.85, 0.35, 0.1, 0.0), (0.85, 0.35, 0.1, 1.0)])

Draw = Callable[[Axes, Report], str]
"""Draws one plot and returns what it shows in words."""


def draw(report: Report) -> dict[str, str]:
    """Every plot that this report has figures for: name → `<svg>`."""
    return {name: _svg(name, function, report) for name, function in PLOTS.items() if _has(name, report)}


def _has(name: str, report: Report) -> bool:
    if name == "novelty":
        return report.novelty is not None
    match name:
        case "confusion":
            return report.confusion.matrix is not None and len(report.labels) > SMALL_MATRIX
        case "search":
            return report.search is not None
        case "importance":
            return report.search is not None and bool(report.search.importance)
    return True


def _svg(name: str, function: Draw, report: Report) -> str:
    with style():
        square = name in {"reliability_before", "reliability_after", "confusion"}
        figure = Figure(figsize=_SQUARE if square else _SIZE, layout="constrained")
        description = function(figure.add_subplot(), report)
    return inline(figure, name=name.replace("_", "-"), description=description)


def _loss(axes: Axes, report: Report) -> str:
    _lines(axes, report, "nats", {
        "training loss": ([epoch.loss for epoch in report.epochs], FIRST),
        "validation log loss": ([epoch.validation_log_loss for epoch in report.epochs], SECOND),
    })  # fmt: skip
    return "Training loss and validation log loss by epoch"


def _accuracy(axes: Axes, report: Report) -> str:
    _lines(axes, report, "accuracy", {
        "training": ([epoch.train_accuracy for epoch in report.epochs], FIRST),
        "validation": ([epoch.validation_accuracy for epoch in report.epochs], SECOND),
    })  # fmt: skip
    return "Accuracy on training and validation rows by epoch"


def _norms(axes: Axes, report: Report) -> str:
    _lines(axes, report, "gradient norm", {
        "largest": ([epoch.grad_norm_max for epoch in report.epochs], SECOND),
        "median": ([epoch.grad_norm_median for epoch in report.epochs], FIRST),
    }, log=True)  # fmt: skip
    if report.clipping.norm_limit is not None:
        axes.axhline(report.clipping.norm_limit, color=INK, linestyle="--", linewidth=1, label="clip line")
    axes.legend()
    return "Largest and median global gradient norm by epoch, before clipping, with the clip line"


def _clipped(axes: Axes, report: Report) -> str:
    _lines(axes, report, "share of steps", {"clipped": ([epoch.clipped_share for epoch in report.epochs], FIRST)})
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return "Share of steps by epoch whose gradient was shortened"


def _saturation(axes: Axes, report: Report) -> str:
    found = [epoch.diagnostics for epoch in report.epochs]
    _lines(axes, report, "share of rows", {
        "top probability > 0.999": ([one.confident for one in found], FIRST),
        "exactly 1 in float32": ([one.saturated for one in found], SECOND),
    })  # fmt: skip
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return "Share of the sample's rows with a top probability above 0.999, and of exactly 1, by epoch"


def _softmax(axes: Axes, report: Report) -> str:
    found = [epoch.diagnostics for epoch in report.epochs]
    _lines(axes, report, "norm of p − y, nats", {
        "logit gradient": ([one.logit_gradient for one in found], FIRST),
        "entropy": ([one.entropy for one in found], SECOND),
    }, log=True)  # fmt: skip
    return "Mean norm of the logit gradient and mean entropy on the sample by epoch"


def _margin(axes: Axes, report: Report) -> str:
    _lines(axes, report, "log-odds", {
        "mean margin of the true class": ([epoch.diagnostics.margin for epoch in report.epochs], FIRST),
    })  # fmt: skip
    return "Mean margin of the true class in log-odds by epoch"


def _layers(axes: Axes, report: Report) -> str:
    names = list(report.epochs[-1].diagnostics.gradient_norms)
    shown = names if len(names) <= len(_LAYERS) else [names[0], names[1], *names[2 - len(_LAYERS) :]]
    series = {
        _short(name): ([epoch.diagnostics.gradient_norms[name] for epoch in report.epochs], color)
        for name, color in zip(shown, _LAYERS, strict=False)
    }
    _lines(axes, report, "gradient norm", series, log=True)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return "Gradient norm of each layer on the sample by epoch"


def _reliability_before(axes: Axes, report: Report) -> str:
    _reliability(axes, report.reliability.before)
    return "Reliability on the test split before the temperature: accuracy against probability, with the noise band"


def _reliability_after(axes: Axes, report: Report) -> str:
    _reliability(axes, report.reliability.after)
    return "Reliability on the test split after the temperature: accuracy against probability, with the noise band"


def _risk_coverage(axes: Axes, report: Report) -> str:
    curve, chosen, test = report.selective.curve, report.selective.chosen, report.selective.test
    axes.plot(curve.coverage, curve.risk, color=FIRST, label="test split")
    axes.axhline(chosen.risk, color=INK, linestyle="--", linewidth=1, label=f"chosen risk {chosen.risk:.1%}")
    if test.risk is not None:
        axes.plot([test.coverage], [test.risk], "o", color=SECOND, label="chosen threshold", zorder=3)
    axes.set_xlabel("share of rows answered")
    axes.set_ylabel("wrong among answered")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="best")
    return "Share of wrong answers among those given, by the share of rows answered, with the chosen point"


def _coverage(axes: Axes, report: Report) -> str:
    for method, color, marker in (("plain", FIRST, "o"), ("adaptive", SECOND, "s")):
        sets = [one for one in report.prediction_sets if one.method == method]
        if sets:
            places = np.arange(len(sets)) + (-0.12 if method == "plain" else 0.12)
            axes.errorbar(
                places,
                [one.coverage for one in sets],
                yerr=[[one.noise for one in sets], [min(one.noise, 1.0 - one.coverage) for one in sets]],
                color=color,
                fmt=marker,
                markersize=5,
                capsize=3,
                linewidth=1.2,
                label=method,
            )
            axes.set_xticks(range(len(sets)), [f"{one.asked:.0%}" for one in sets])
            axes.plot(range(len(sets)), [one.asked for one in sets], "_", color=INK, markersize=26)
    axes.set_xlabel("coverage asked (line)")
    axes.set_ylabel("coverage on test")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="lower right")
    return "Coverage of conformal sets on the test split against the coverage asked, with its noise"


def _novelty(axes: Axes, report: Report) -> str:
    found = report.novelty
    assert found is not None  # noqa: S101  # see `_has`
    for label, counts, color, dash in (
        ("calibration rows", found.calibration, FIRST, "-"),
        ("test rows", found.test, SECOND, "--"),
    ):
        axes.stairs(
            np.array(counts) / sum(counts), found.edges, color=color, linestyle=dash, linewidth=1.4, label=label
        )
    if found.limit is not None:
        axes.axvline(found.limit, color=INK, linestyle=":", linewidth=1, label="p-value 0.05")
    axes.set_xlabel("novelty score")
    axes.set_ylabel("share of rows")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend()
    return (
        "Share of calibration rows and of test rows by novelty score, with the score beyond which the p-value is 0.05"
    )


def _confusion(axes: Axes, report: Report) -> str:
    matrix = np.array(report.confusion.matrix, dtype=float)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.grid(visible=False)
    axes.imshow(np.sqrt(shares), cmap=_HEAT, vmin=0, vmax=1, interpolation="nearest")
    axes.set_xlabel("predicted class, by number")
    axes.set_ylabel("true class, by number")
    return f"Confusion matrix of {len(report.labels)} classes; the share of each true class, its square root as opacity"


def _search(axes: Axes, report: Report) -> str:
    assert report.search is not None  # noqa: S101  # `_has` asks
    completed = [trial for trial in report.search.trials if trial.value is not None]
    numbers, lowest = zip(*report.search.best_so_far(), strict=True)
    axes.scatter(numbers, [trial.value or 0.0 for trial in completed], s=14, color=FIRST, label="completed", zorder=3)
    axes.step(numbers, lowest, where="post", color=SECOND, linewidth=1.2, label="best so far")
    for state, color in (("pruned", INK), ("failed", THIRD)):
        places = [trial.number for trial in report.search.trials if trial.state == state]
        if places:
            axes.plot(places, [0.02] * len(places), "|", color=color, transform=axes.get_xaxis_transform(), label=state)
    axes.set_xlabel("trial")
    axes.set_ylabel("log loss, nats")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _log(axes, [value for trial in completed if (value := trial.value) is not None])
    axes.legend()
    return "Log loss of each completed trial and the best so far; pruned and failed trials as marks at the bottom"


def _importance(axes: Axes, report: Report) -> str:
    assert report.search is not None  # noqa: S101  # `_has` asks
    shares = sorted(report.search.importance.items(), key=lambda item: item[1])
    axes.barh([name for name, _ in shares], [share for _, share in shares], color=FIRST)
    axes.set_xlabel("share of the effect")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return "How much each parameter tells good trials from others"


PLOTS: Mapping[str, Draw] = MappingProxyType(
    {
        "loss": _loss,
        "accuracy": _accuracy,
        "norms": _norms,
        "clipped": _clipped,
        "saturation": _saturation,
        "softmax": _softmax,
        "margin": _margin,
        "layers": _layers,
        "reliability_before": _reliability_before,
        "reliability_after": _reliability_after,
        "risk_coverage": _risk_coverage,
        "coverage": _coverage,
        "novelty": _novelty,
        "confusion": _confusion,
        "search": _search,
        "importance": _importance,
    }
)


def _lines(
    axes: Axes, report: Report, unit: str, series: Mapping[str, tuple[Sequence[float], str]], *, log: bool = False
) -> None:
    """Lines over epochs, told apart by colour and dash, with the kept epoch marked."""
    epochs = [epoch.epoch for epoch in report.epochs]
    marker = "o" if len(epochs) <= _MARKED_EPOCHS else None
    for (label, (values, color)), dash in zip(series.items(), ("-", "--", "-.", ":", "-"), strict=False):
        axes.plot(epochs, values, dash, color=color, label=label, marker=marker, markersize=3)
    axes.axvline(report.best_epoch, color=FAINT, linewidth=4, zorder=0)
    _epochs(axes)
    axes.set_ylabel(unit)
    axes.legend()
    if log:
        _log(axes, [value for values, _ in series.values() for value in values])


def _epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _log(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis where all values allow it, its numbers written plainly."""
    if min(values) <= 0:
        return
    axes.set_yscale("log")
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    if max(values) < 100 * min(values):  # there may be no or one power of ten among them
        axes.yaxis.set_minor_formatter(plain)
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    else:
        axes.yaxis.set_minor_formatter(NullFormatter())


def _reliability(axes: Axes, bins: Bins) -> None:
    filled = [index for index, count in enumerate(bins.count) if count]
    confidence, low, high, accuracy = (
        _filled(column, filled) for column in (bins.confidence, bins.band_low, bins.band_high, bins.accuracy)
    )
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    axes.vlines(confidence, low, high, color=GOOD, linewidth=7, alpha=0.35, label="by chance, 95 of 100")
    sizes = [12 + 60 * math.sqrt(bins.count[index] / sum(bins.count)) for index in filled]
    axes.scatter(confidence, accuracy, s=sizes, color=FIRST, edgecolors=BACKGROUND, zorder=3, label="found")
    axes.set_xlim(0, 1.03)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("top probability")
    axes.set_ylabel("share that was right")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _filled(column: Sequence[Number], filled: Sequence[int]) -> list[Any]:
    return [column[index] for index in filled]


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"…{name[-23:]}"
