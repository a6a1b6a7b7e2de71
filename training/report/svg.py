"""A matplotlib figure → SVG that stands inside a page: its colours and fonts are the page's, nothing is inline style.

Colours are drawn as stand-ins (`INK`, `FIRST`, …) and leave as CSS variables, so that one plot fits light and dark.
Style attributes become presentation attributes, because a content security policy without `unsafe-inline` drops them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.figure import Figure

INK, FAINT, FIRST, SECOND, THIRD, GOOD, BACKGROUND = (
    "#010101", "#020202", "#030303", "#040404", "#050505", "#060606", "#070707",
)  # fmt: skip
_VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        INK: "currentColor",
        FAINT: "var(--line)",
        FIRST: "var(--first)",
        SECOND: "var(--second)",
        THIRD: "var(--third)",
        GOOD: "var(--good)",
        BACKGROUND: "var(--card)",
    }
)
_STYLE: Mapping[str, Any] = MappingProxyType(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "clipmax",
        "font.size": 9.5,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": FAINT,
        "grid.linewidth": 0.6,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "legend.handlelength": 1.6,
        "lines.linewidth": 1.6,
        "figure.facecolor": "none",
    }
)
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_DROPPED = frozenset({f"{_SVG}metadata", f"{_SVG}style"})
_REFERENCE = re.compile(r"url\(#([^)]+)\)|^#(.+)$")
_SIZE = re.compile(r"([0-9.]+)px")


def style() -> Any:
    """The context in which figures for this page are made and drawn."""
    return mpl.rc_context(cast("Any", dict(_STYLE)))


def inline(figure: Figure, *, name: str, description: str) -> str:
    """The `<svg>` element of a figure, without a namespace or any address.

    Args:
        figure: drawn under `style()`.
        name: unique on the page; it goes before every id.
        description: what a reader who cannot see the plot is told.
    """
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(buffer.getvalue())  # noqa: S314  # what matplotlib has just written
    _clean(root, _referenced(root), f"{name}-")
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"role": "img", "aria-label": description}
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _referenced(root: ET.Element) -> set[str]:
    """Ids that something in the drawing points to."""
    values = (value for element in root.iter() for value in _attributes(element).values())
    return {match[1] or match[2] for value in values if (match := _REFERENCE.search(value))}


def _clean(element: ET.Element, referenced: set[str], prefix: str) -> None:
    """Namespaces, styles, unused ids and comments away; colours and references renamed; in place."""
    for child in list(element):
        if child.tag in _DROPPED:
            element.remove(child)
        else:
            _clean(child, referenced, prefix)
    element.tag = element.tag.removeprefix(_SVG)
    attributes = _attributes(element)
    if attributes.get("id") not in referenced:
        attributes.pop("id", None)
    element.attrib.clear()
    element.attrib |= {key: _renamed(key, value, prefix) for key, value in attributes.items()}
    if element.text and not element.text.strip():
        element.text = None
    element.tail = None if not (element.tail or "").strip() else element.tail


def _attributes(element: ET.Element) -> dict[str, str]:
    """Its attributes, those of `style` as presentation attributes, fonts left to the page but for the size."""
    attributes = {key.removeprefix(_XLINK): value for key, value in element.attrib.items() if key != "style"}
    for declaration in element.get("style", "").split(";"):
        key, colon, value = declaration.partition(":")
        if not colon:
            continue
        if key.strip() == "font":
            attributes["font-size"] = _SIZE.search(value)[1]  # type: ignore[index]  # matplotlib always writes one
        elif key.strip() != "font-family":
            attributes[key.strip()] = value.strip()
    return attributes


def _renamed(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return prefix + value
    if key == "href" or value.startswith("url(#"):
        return value.replace("#", f"#{prefix}", 1)
    return _VARIABLES.get(value, value)
