"""A plot stands inside a page: the page's colours, no style attributes, no addresses, ids of its own."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from matplotlib.figure import Figure

from training.report.svg import FIRST, inline, style


def drawing(name: str = "loss", label: str = "a") -> str:
    """One line with a legend and clip path."""
    with style():
        figure = Figure()
        axes = figure.add_subplot()
        axes.plot([0, 1], [1, 2], color=FIRST, marker="o", label=label)
        axes.legend()
    return inline(figure, name=name, description="a rising line")


def test_colours_are_those_of_the_page() -> None:
    """Variables where stand-ins were drawn; text in the page's colour; no stand-in left."""
    svg = drawing()
    assert 'stroke="var(--first)"' in svg
    assert 'fill="currentColor"' in svg
    assert not re.search(r"#0[0-9]0[0-9]0[0-9]", svg)


def test_nothing_needs_inline_style_or_an_address() -> None:
    """So that a strict content security policy lets it pass."""
    svg = drawing()
    assert "style" not in svg
    assert "http" not in svg
    assert "font-family" not in svg


def test_text_stays_text_and_the_picture_is_described() -> None:
    """For those who search, copy, or listen."""
    root = ET.fromstring(drawing(label="training loss"))  # noqa: S314  # our own
    assert "training loss" in [text.text for text in root.iter("text")]
    assert (root.get("role"), root.get("aria-label")) == ("img", "a rising line")


def test_ids_of_two_plots_never_meet_and_every_reference_resolves() -> None:
    """A page holds many."""
    first, second = drawing("loss"), drawing("accuracy")
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert set(re.findall(r"url\(#([^)]+)\)", first)) | set(re.findall(r'href="#([^"]+)"', first)) <= ids[0]


def test_markup_in_a_label_stays_text() -> None:
    """Class names and layer names come from data."""
    assert "<script>" not in drawing(label="<script>alert(1)</script>")


def test_the_same_figure_gives_the_same_bytes() -> None:
    """No date, no random ids."""
    assert drawing() == drawing()
