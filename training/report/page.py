"""All figures of a run → `report.html`: one file that needs nothing else, no script, no address, no inline style."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from training.loop import EpochFigures
from training.report import plots
from training.report.figures import Report

HTML_FILE, JSON_FILE = "report.html", "report.json"

_FOLDER = Path(__file__).parent
_CLASS_ROWS = 30
_CLASS_ROWS_ALL = 1000
_PAIR_ROWS = 12
_EPOCH_ROWS = 40
_TRIAL_ROWS = 200


def files(report: Report) -> dict[str, bytes]:
    """File name → content of both files of a published version."""
    return {HTML_FILE: render(report).encode(), JSON_FILE: (report.model_dump_json(indent=1) + "\n").encode()}


def render(report: Report) -> str:
    """The page. Labels, inputs and configuration are escaped wherever they stand."""
    page: str = (
        environment()
        .get_template("page.html.jinja")
        .render(
            report=report,
            **style_sheet(),
            plots={name: Markup(svg) for name, svg in plots.draw(report).items()},  # noqa: S704  # escaped by ElementTree
            classes=_classes(report),
            pairs=report.confusion.pairs[:_PAIR_ROWS],
            matrix=_matrix(report),
            configuration=flat(report.configuration),
            epochs_shown=thinned(report.epochs),
            trials_shown=_TRIAL_ROWS,
        )
    )
    return page


def environment() -> Environment:
    """Templates of this folder, escaped, with the filters for shares and numbers."""
    found = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"share": _share, "number": _number, "plain_json": _plain_json, "breakable": _breakable}
    return found


def style_sheet() -> dict[str, str]:
    """The page's CSS, and its hash for the page's own policy."""
    css = (_FOLDER / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode("ascii")
    return {"css": Markup(css), "css_sha256": digest}  # noqa: S704  # our own file


def _breakable(label: str) -> Markup:
    """A label that does not fit into its line goes on behind an underscore."""
    return Markup("_<wbr>").join(label.split("_"))


def _share(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}%}"


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _plain_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _classes(report: Report) -> dict[str, Any]:
    """Few classes in their order; of many the weakest first, and all of them (up to a bound) folded away."""
    many = len(report.per_class) > _CLASS_ROWS
    weakest = sorted(report.per_class, key=lambda one: (one.support == 0, one.f1, one.support))
    return {
        "many": many,
        "shown": weakest[:_CLASS_ROWS] if many else list(report.per_class),
        "all": list(report.per_class[:_CLASS_ROWS_ALL]) if many else [],
        "places": {one.label: place for place, one in enumerate(report.per_class)},
        "left_out": max(0, len(report.per_class) - _CLASS_ROWS_ALL),
    }


def _matrix(report: Report) -> list[tuple[str, list[tuple[int, int]]]] | None:
    """Label → (rows, depth of colour 0 to 9) for each predicted class; None where a plot stands instead of a table."""
    matrix = report.confusion.matrix
    if matrix is None or len(report.labels) > plots.SMALL_MATRIX:
        return None
    worst = max((count for row, counts in enumerate(matrix) for column, count in enumerate(counts) if row != column))
    return [
        (label, [(count, _depth(count, worst)) for count in counts])
        for label, counts in zip(report.labels, matrix, strict=True)
    ]


def _depth(count: int, worst: int) -> int:
    """Nine steps up to the most frequent confusion."""
    return 0 if count == 0 else min(9, max(1, round(9 * count / max(worst, 1))))


def flat(section: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """A nested configuration as (key with dots, value)."""
    found: list[tuple[str, Any]] = []
    for key, value in section.items():
        found += flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(f"{prefix}{key}", value)]
    return found


def thinned(epochs: Sequence[EpochFigures]) -> list[EpochFigures]:
    """The epochs that the table shows: all up to 40, else every n-th and the last."""
    step = -(-len(epochs) // _EPOCH_ROWS)
    return [epoch for index, epoch in enumerate(epochs) if index % step == 0 or index == len(epochs) - 1]
