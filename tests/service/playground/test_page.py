"""The page `/` in a real browser: what a person does, and what is answered."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from clipmax import idx
from tests.service.playground import models, strokes
from tests.service.playground.strokes import draw
from tests.service.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Page

LABEL = ".verdict .label"
SEEN = """() => {
    const context = document.querySelector('.preview').getContext('2d');
    return Array.from(context.getImageData(0, 0, 28, 28).data).filter((_, index) => index % 4 === 0);
}"""
TICKET = "I forgot my passcode, can you help me reset it?"


def expect_label(page: Page, label: str) -> None:
    """The answer that stands there once things have come to rest."""
    page.wait_for_function("label => document.querySelector('.verdict .label')?.textContent === label", arg=label)


def choose(page: Page, model: str) -> None:
    """Another model than the first."""
    page.goto(f"/#{model}")
    page.wait_for_function("name => document.querySelector('#name').textContent === name", arg=model)


@pytest.mark.parametrize(
    ("label", "drawn"),
    [("3", [strokes.THREE]), ("4", strokes.FOUR), ("7", [strokes.SEVEN])],
    ids=["3", "4", "7"],
)
def test_a_drawn_digit_gets_its_label(page: Page, label: str, drawn: Any) -> None:
    """By mouse, with strokes as coarse as a hurried hand's."""
    choose(page, "mnist")
    draw(page, *drawn)
    expect_label(page, label)
    assert page.locator(".bars li").count() == 10
    assert page.locator(".bars li.top .bar-label").inner_text() == label


def test_a_small_digit_in_a_corner_is_seen_as_a_large_one_in_the_middle(page: Page) -> None:
    """The page centres and scales what is drawn as MNIST was made."""
    choose(page, "mnist")
    draw(page, [(x * 0.4, y * 0.4) for x, y in strokes.SEVEN])
    expect_label(page, "7")
    seen = np.asarray(page.evaluate(SEEN))
    image = seen.reshape(28, 28)
    rows, columns = (np.flatnonzero(image.max(axis=axis) > 24) for axis in (1, 0))
    assert 19 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
    centre = [float((image * grid).sum() / image.sum()) for grid in np.indices(image.shape) + 0.5]
    assert centre == pytest.approx([14, 14], abs=0.75)


def test_a_digit_is_drawn_by_keyboard(page: Page) -> None:
    """Space puts the pen down, arrows move it, delete clears."""
    choose(page, "mnist")
    page.locator(".pad canvas").focus()
    page.keyboard.press("Space")
    for _ in range(22):
        page.keyboard.press("ArrowDown")
    expect_label(page, "1")
    page.keyboard.press("Delete")
    page.wait_for_selector(".empty")


@pytest.mark.parametrize("is_photograph", [False, True], ids=["as the data set has it", "large, dark on light paper"])
def test_a_chosen_picture_gets_its_label(page: Page, is_photograph: bool) -> None:
    """A test digit as a file, also as somebody would have photographed it."""
    pixels = idx.read(models.ROOT / "examples" / "mnist" / "t10k-images-idx3-ubyte.gz")[0]
    if is_photograph:
        pixels = 235 - np.kron(np.pad(pixels, ((2, 30), (40, 6))), np.ones((9, 9))) * 0.8
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    choose(page, "mnist")
    page.set_input_files("input[type=file]", {"name": "x.png", "mimeType": "image/png", "buffer": file.getvalue()})
    expect_label(page, "7")


def test_a_file_that_is_no_picture_is_refused_in_words(page: Page) -> None:
    """By the page itself."""
    choose(page, "mnist")
    page.set_input_files("input[type=file]", {"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    assert "This file cannot be used" in page.locator(".failure").inner_text()


def test_a_typed_ticket_gets_its_intent(page: Page) -> None:
    """While it is typed: the last answer is the one to all of it."""
    choose(page, "tickets")
    page.locator("textarea").press_sequentially(TICKET, delay=5)
    expect_label(page, "passcode_forgotten")
    page.fill("textarea", "Where is the card that I ordered? It has not arrived.")
    expect_label(page, "card_arrival")
    page.fill("textarea", TICKET * 4)
    page.wait_for_selector(".remark:has-text('reads only the beginning of text')")


def test_a_form_gets_its_class(page: Page) -> None:
    """Numbers, a choice, a slider; a missing value and one out of range are taken too."""
    choose(page, "flowers")
    for name, value in (("petal length", "1.4"), ("petal width", "0.2")):
        page.get_by_label(name, exact=True).fill(value)
    expect_label(page, "setosa")
    page.get_by_label("petal length", exact=True).fill("99")
    page.wait_for_selector(".remark:has-text('Out of range')")
    expect_label(page, "virginica")
    page.get_by_label("soil").select_option(label="missing")
    page.get_by_role("button", name="Leave petal length missing").click()
    page.wait_for_function("() => document.querySelector('#code code').textContent.includes('\"petal length\":null,')")
    assert '"soil":null' in page.locator("#code code").inner_text()


def test_an_error_says_what_why_and_where(page: Page) -> None:
    """The service's title and detail, at the field that is meant."""
    choose(page, "flowers")
    box = page.get_by_label("petal width", exact=True)
    box.fill("1e39")
    failure = page.locator(".failure")
    failure.wait_for()
    for words in ("A number does not fit the model's input type", "the number does not fit float32", "petal width"):
        assert words in failure.inner_text()
    assert box.get_attribute("aria-invalid") == "true"
    page.get_by_role("button", name="中文").click()
    assert page.locator(".field.wrong .wrong-text").inner_text() == "模型存不下这么大的数。"
    page.get_by_role("button", name="English").click()
    box.fill("wide")
    page.wait_for_selector(".failure:has-text('Not a number')")
    box.fill("1.3")
    page.wait_for_selector(LABEL)
    assert box.get_attribute("aria-invalid") is None


def test_the_slider_changes_the_prediction_set(page: Page) -> None:
    """More coverage, more labels."""
    choose(page, "flowers")
    for name, value in (("petal length", "4.9"), ("petal width", "1.65")):
        page.get_by_label(name, exact=True).fill(value)
    page.wait_for_selector(".set li")
    sizes = []
    for key, coverage in (("Home", "50%"), ("End", "99.9%")):
        page.locator("#coverage").press(key)
        page.wait_for_function("text => document.querySelector('#code code').textContent.includes(text)",
            arg=f'"coverage":{float(coverage[:-1]) / 100:g}')  # fmt: skip
        page.wait_for_timeout(200)
        assert page.locator(".coverage output").inner_text() == coverage
        sizes.append(page.locator(".set li").count())
    assert sizes[0] < sizes[1] == 3


def test_it_says_that_it_does_not_know(page: Page) -> None:
    """Where the top probability is below the manifest's threshold."""
    choose(page, "flowers")
    for name, value in (("petal length", "4.9"), ("petal width", "1.65")):
        page.get_by_label(name, exact=True).fill(value)
    page.wait_for_selector(".remark.warn:has-text('I do not know.')")
    page.wait_for_function("() => document.querySelector('#spoken').textContent.includes('I do not know')")


def test_it_says_that_it_has_never_seen_the_like(page: Page) -> None:
    """Where the p-value of the novelty is small; and that value stands below the answer."""
    choose(page, "novel")
    page.locator(".examples button").first.click()
    page.wait_for_selector(".remark.warn:has-text('Unlike anything I was trained on.')")
    assert "novelty p = 0.005" in page.locator(".facts").inner_text()


def test_examples_are_one_click_away(page: Page) -> None:
    """With the label that training gave, also for whoever hears the page."""
    choose(page, "mnist")
    buttons = page.locator(".examples button")
    assert buttons.count() == 10
    for index in (0, 9):
        label = buttons.nth(index).locator(".example-label").inner_text()
        buttons.nth(index).click()
        expect_label(page, label)
        page.wait_for_function("label => document.querySelector('#spoken').textContent.startsWith(label)", arg=label)


@pytest.mark.parametrize("name", ["mnist", "flowers"])
def test_the_python_shown_gives_the_same_answer(page: Page, tmp_path: Path, name: str) -> None:
    """With clipmax's own client, as it is copied from the page."""
    choose(page, name)
    page.locator(".examples button").nth(1).click()
    page.wait_for_selector(LABEL)
    page.get_by_role("tab", name="Python").click()
    program = tmp_path / "program.py"
    program.write_text(page.locator("#code code").inner_text(), encoding="utf-8")
    found = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.split()[0] == page.locator(LABEL).inner_text()


def test_what_the_page_shows_of_the_model(page: Page, page_service: Running) -> None:
    """Figures, versions, and the report under a policy of its own."""
    choose(page, "mnist")
    about = page.locator("#about").inner_text()
    for words in ("98.87%", "serving", "10,000"):
        assert words in about
    address = page.get_by_role("link", name="Training report of version 1").get_attribute("href")
    answer = page.goto(f"/{address}")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    assert "script" not in policy
    assert page.locator("h1").inner_text()
    assert page.evaluate("() => getComputedStyle(document.body).maxWidth") != "none"


def test_one_version_may_be_asked_alone(page: Page) -> None:
    """Chosen in the table, shown at the top, in the path of the request, and given back."""
    choose(page, "flowers")
    page.wait_for_selector(".facts:has-text('version 2')")
    assert "/v1/models/flowers:predict" in page.locator("#code code").inner_text()
    page.get_by_role("button", name="Ask version 1").click()
    page.wait_for_selector(".facts:has-text('version 1')")
    assert "/v1/models/flowers/versions/1:predict" in page.locator("#code code").inner_text()
    page.get_by_role("button", name="version 1 only").click()
    page.wait_for_selector(".facts:has-text('version 2')")


def test_another_model_is_chosen_from_the_list(page: Page) -> None:
    """Of several in one process; the address names it, so that it can be passed on."""
    choose(page, "mnist")
    page.get_by_label("Model", exact=True).select_option("flowers")
    page.wait_for_selector("#name:has-text('flowers')")
    page.wait_for_selector(LABEL)
    assert page.url.endswith("#flowers")
    page.get_by_label("Model", exact=True).select_option("tickets")
    page.wait_for_selector("textarea")


def test_of_very_many_classes_the_likeliest_are_shown(page: Page) -> None:
    """Eight bars, and why there are no prediction sets."""
    choose(page, "many")
    page.locator(".examples button").first.click()
    page.wait_for_selector(LABEL)
    assert page.locator(".bars li").count() == 8
    assert "only the likeliest" in page.locator(".coverage").inner_text()
    assert page.locator(".coverage input").count() == 0


def test_a_model_of_another_tool(page: Page) -> None:
    """Nothing is claimed that was not measured, a range of all numbers is no slider, a needed one is asked for."""
    choose(page, "adopted")
    assert "Its quality was not measured." in page.locator("#summary").inner_text()
    assert "most of them are made up" in page.locator("#examples").inner_text()
    assert page.locator("#form input[type=range]:visible").count() == 0
    box = page.get_by_label("x2", exact=True)
    box.fill("4")
    expect_label(page, "second")
    box.fill("")
    page.wait_for_selector(".failure:has-text('A number is missing')")


def test_purchases_are_lines(page: Page) -> None:
    """Of nobody known the answer is there at once; days that are none are named, an unknown item is told."""
    choose(page, "history")
    page.wait_for_selector(".remark:has-text('Nothing known')")
    box = page.get_by_label("history", exact=True)
    box.fill("label 1, 3\nlabel 2, 40.5\n")
    page.wait_for_function("() => document.querySelector('#code code').textContent.includes('\"days_ago\":[3,40.5]')")
    page.wait_for_selector(LABEL)
    box.fill("label 1, soon")
    page.wait_for_selector(".failure:has-text('Not a number')")
    page.locator(".examples button").first.click()
    page.wait_for_selector(".remark:has-text('history')")
    assert box.input_value().startswith("label 2, 1\n")


def test_chinese_is_one_click_away_and_stays(page: Page) -> None:
    """All of the page, with the language said to screen readers; what was drawn stays too."""
    choose(page, "mnist")
    draw(page, strokes.THREE)
    expect_label(page, "3")
    page.get_by_role("button", name="中文").click()
    page.wait_for_selector("h2:has-text('回答')")
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    expect_label(page, "3")
    page.reload()
    page.wait_for_selector("h2:has-text('回答')")


def test_colours_follow_the_system_or_the_switch(page: Page) -> None:
    """Dark by the system, light by choice, remembered."""
    page.emulate_media(color_scheme="dark")
    choose(page, "mnist")
    color = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(color)
    page.locator("#theme").click()
    light = page.evaluate(color)
    assert dark != light
    page.reload()
    assert page.evaluate(color) == light


@pytest.mark.parametrize("name", ["mnist", "tickets", "flowers", "colors", "many", "adopted", "history"])
def test_nothing_is_wider_than_a_phone(page: Page, name: str) -> None:
    """No scrolling to the side, with an answer there, on the smallest one."""
    page.set_viewport_size({"width": 320, "height": 640})
    choose(page, name)
    page.locator(".examples button").first.click()
    page.wait_for_selector(LABEL)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("name", ["mnist", "tickets", "flowers", "colors", "many", "adopted", "history"])
def test_axe_finds_nothing(page: Page, axe: str, name: str) -> None:
    """With an answer, in both colours, and of the form with an error."""
    page.emulate_media(reduced_motion="reduce")
    choose(page, name)
    page.locator(".examples button").first.click()
    page.wait_for_selector(LABEL)
    page.evaluate(axe)
    assert _violations(page) == []
    if name == "flowers":
        page.get_by_label("petal width", exact=True).fill("1e39")
        page.wait_for_selector(".failure")
        assert _violations(page) == []


def _violations(page: Page) -> list[str]:
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        run = "async () => (await axe.run()).violations.map(one => one.id + ': ' + one.nodes[0].html)"
        found += page.evaluate(run)
    return found
