"""Pictures that a person has: a coloured one, chosen, pasted or dropped, from a real clipboard and a real drag."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw

from tests.service.playground import models, strokes
from tests.service.playground.test_page import LABEL, choose, expect_label

if TYPE_CHECKING:
    from playwright.sync_api import Page

COPY = """async text => {
    const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
    await navigator.clipboard.write([new ClipboardItem({'image/png': new Blob([bytes], {type: 'image/png'})})]);
}"""
SEEN = """() => {
    const {width, height} = document.querySelector('.preview');
    const surface = document.querySelector('.preview').getContext('2d');
    return Array.from(surface.getImageData(width / 2, height / 2, 1, 1).data);
}"""


def plain(color: str, size: tuple[int, int] = (300, 200)) -> bytes:
    """A PNG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def transparent_seven() -> bytes:
    """Black ink on nothing, as drawing programs save it."""
    picture = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    points = [(x * 200, y * 200) for x, y in strokes.SEVEN]
    ImageDraw.Draw(picture).line(points, fill=(0, 0, 0, 255), width=16, joint="curve")
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def paste(page: Page, picture: bytes) -> None:
    """Into the clipboard, and from it by the keys for that."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(COPY, base64.b64encode(picture).decode())
    page.keyboard.press("Control+v")


def drop(page: Page, file: Path, selector: str) -> None:
    """A file that is dragged from outside the browser to the middle of an element."""
    box = page.locator(selector).bounding_box()
    assert box is not None
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    protocol = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        protocol.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})


@pytest.mark.parametrize(("label", "color"), [("red", "#d03020"), ("green", "#209040"), ("blue", "#2040c0")])
def test_a_coloured_picture_is_chosen(page: Page, label: str, color: str) -> None:
    """By a press on the place for it; the model sees its colours at its own size."""
    choose(page, "colors")
    assert "Drop, paste or choose a picture" in page.locator(".empty").inner_text()
    with page.expect_file_chooser() as chooser:
        page.locator(".pad").click()
    chooser.value.set_files({"name": "x.png", "mimeType": "image/png", "buffer": plain(color)})
    expect_label(page, label)
    wanted = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    assert page.evaluate(SEEN) == [*wanted, 255]


def test_an_example_in_colour_gets_its_label(page: Page) -> None:
    """Half black, half of one colour."""
    choose(page, "colors")
    for index, label in enumerate(("red", "green", "blue")):
        page.locator(".examples button").nth(index).click()
        expect_label(page, label)


def test_a_picture_is_pasted(page: Page) -> None:
    """Also over one that is there."""
    choose(page, "colors")
    paste(page, plain("#a01010"))
    expect_label(page, "red")
    paste(page, plain("#1010a0", size=models.COLOR_SHAPE[1::-1]))
    expect_label(page, "blue")


def test_ink_on_a_transparent_picture_is_ink_on_paper(page: Page) -> None:
    """As every viewer shows it."""
    choose(page, "mnist")
    paste(page, transparent_seven())
    expect_label(page, "7")


@pytest.mark.parametrize("place", [".pad", "#about"], ids=["on the pad", "beside it"])
def test_a_picture_is_dropped(page: Page, tmp_path: Path, place: str) -> None:
    """A file that misses the pad does not replace the page."""
    file = tmp_path / "green.png"
    file.write_bytes(plain("#10a010"))
    choose(page, "colors")
    drop(page, file, place)
    expect_label(page, "green")


def test_a_dropped_file_of_another_kind_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    """And the next picture is taken."""
    file = tmp_path / "figures.pdf"
    file.write_bytes(b"%PDF-1.7 no picture")
    choose(page, "colors")
    drop(page, file, ".pad")
    page.wait_for_selector(".failure:has-text('This file cannot be used')")
    paste(page, plain("#a01010"))
    page.wait_for_selector(LABEL)
