"""What a hand does on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

Stroke = Sequence[tuple[float, float]]
"""Points of one stroke, in shares of the pad's width and height."""

THREE: Stroke = (
    (0.34, 0.26),
    (0.5, 0.2),
    (0.63, 0.28),
    (0.6, 0.42),
    (0.46, 0.48),
    (0.62, 0.56),
    (0.66, 0.7),
    (0.5, 0.8),
    (0.33, 0.74),
)
FOUR: Sequence[Stroke] = (((0.4, 0.2), (0.3, 0.55), (0.7, 0.55)), ((0.62, 0.3), (0.58, 0.85)))
SEVEN: Stroke = ((0.3, 0.2), (0.7, 0.2), (0.45, 0.85))


def draw(page: Page, *strokes: Stroke) -> None:
    """By mouse, on the pad."""
    box = page.locator(".pad canvas").bounding_box()
    assert box is not None
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=6)
        page.mouse.up()
