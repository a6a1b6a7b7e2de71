"""The pictures of the playground in docs/screenshots: a real service, a real Chromium, the models of the examples.

    .venv/bin/python docs/screenshots.py [MODELS]

MODELS is a folder with versions of mnist, banking77 and adult. Without it, mnist is the shipped one and the other
two are trained first, in some minutes. What a first stroke takes until its answer stands there is measured and printed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "screenshots"
CLIPMAX = (sys.executable, "-m", "clipmax.cli")
TRAINED = ("banking77", "adult")
PATIENCE_SECONDS = 60.0
VISITORS = 20
NARROW = 500  # pixels: of a phone one screen is shown, as a person sees it

# Not quite closed at the top: a 4 to some, a 9 to others.
DIGIT = (
    ((0.5, 0.2), (0.42, 0.24), (0.34, 0.4), (0.42, 0.5), (0.62, 0.47)),
    ((0.64, 0.22), (0.63, 0.5), (0.58, 0.84)),
)
TICKET = "I ordered a card two weeks ago and it still has not come"


Stroke = Sequence[tuple[float, float]]
"""Points in shares of the pad's width and height."""


@dataclass(frozen=True)
class Look:
    """One way to look at the page."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]
    locale: str = "en-US"


LOOKS = (
    Look("desk", 1280, 900, "light"),
    Look("dark", 1280, 900, "dark"),
    Look("phone", 390, 844, "light"),
    Look("chinese", 1280, 900, "light", "zh-CN"),
)


def main() -> None:
    """Serve, look, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="?", type=Path)
    given = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        models = given.models or train(Path(folder))
        with serving(models, Path(folder)) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"))
            for look in LOOKS:
                photograph(browser, url, look)
            measure(browser, url)
            browser.close()


def train(folder: Path) -> Path:
    """The shipped digits, and the two other examples from their samples."""
    models = folder / "models"
    shutil.copytree(ROOT / "models" / "mnist" / "1", models / "mnist" / "1")
    for name in TRAINED:
        places = ["--set", f"models={models}", "--set", f"runs={folder / 'runs'}"]
        subprocess.run([*CLIPMAX, "train", str(ROOT / "examples" / name / f"{name}.toml"), *places], check=True)
    return models


@contextmanager
def serving(models: Path, folder: Path, *flags: str) -> Iterator[str]:
    """`clipmax serve` on a free port until the block is left."""
    log = folder / "service.log"
    with log.open("wb") as stderr:
        arguments = ["serve", "--models", str(models), "--port", "0", "--default-model", "mnist"]
        process = subprocess.Popen([*CLIPMAX, *arguments, "--drain-delay-seconds", "0", *flags], stderr=stderr)
    try:
        yield f"http://127.0.0.1:{port(process, log)}"
    finally:
        process.terminate()
        process.wait()


def port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Where it listens, from its own log."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text().splitlines(keepends=True):
            if line.endswith("\n") and '"event":"serving"' in line:
                return int(json.loads(line)["port"])
        time.sleep(0.05)
    raise SystemExit(log.read_text())


def photograph(browser: Browser, url: str, look: Look) -> None:
    """Each scene as this look has it."""
    for name, scene in SCENES.items():
        with tab(browser, url, look) as page:
            scene(page)
            page.mouse.move(2, 2)
            page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
            page.wait_for_timeout(400)  # transitions
            save(page.screenshot(full_page=look.width > NARROW), OUT / f"{look.name}-{name}.png")


def save(picture: bytes, path: Path) -> None:
    """In 256 colours: a quarter of the bytes, and nobody sees the difference."""
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


@contextmanager
def tab(browser: Browser, url: str, look: Look) -> Iterator[Page]:
    """A new visitor."""
    size: ViewportSize = {"width": look.width, "height": look.height}
    context = browser.new_context(viewport=size, color_scheme=look.scheme, locale=look.locale, base_url=url)
    yield context.new_page()
    context.close()


def digit(page: Page) -> None:
    open_model(page, "mnist")
    draw(page, DIGIT)
    page.wait_for_selector(".bars li")


def text(page: Page) -> None:
    open_model(page, "banking77")
    page.fill("textarea", TICKET)
    page.wait_for_selector(".bars li")


def table(page: Page) -> None:
    open_model(page, "adult")
    page.locator(".examples button").nth(1).click()
    page.wait_for_selector(".bars li")


def error(page: Page) -> None:
    open_model(page, "adult")
    page.locator("input[inputmode=decimal]").first.fill("1e39")
    page.wait_for_selector(".failure")


SCENES: dict[str, Callable[[Page], None]] = {"digit": digit, "text": text, "table": table, "error": error}


def open_model(page: Page, name: str) -> None:
    page.goto(f"/#{name}")
    page.wait_for_function("name => document.querySelector('#name').textContent === name", arg=name)


def draw(page: Page, strokes: Sequence[Stroke]) -> None:
    """By mouse."""
    box = page.locator(".pad canvas").bounding_box()
    assert box is not None
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=4)
        page.mouse.up()


def measure(browser: Browser, url: str) -> None:
    """From the first touch of the pen to the first answer on the page, in milliseconds, of many new visitors."""
    found = []
    for _ in range(VISITORS):
        with tab(browser, url, LOOKS[0]) as page:
            open_model(page, "mnist")
            page.evaluate(WATCH)
            draw(page, [DIGIT[0][:2]])
            found.append(page.evaluate("() => window.answered"))
    print(f"first answer after the first stroke: median {statistics.median(found):.0f} ms, longest {max(found):.0f} ms")


WATCH = """() => {
  window.answered = new Promise((resolve) => {
    let begin = null;
    document.querySelector(".pad canvas").addEventListener("pointerdown", () => { begin = performance.now(); }, true);
    new MutationObserver(() => {
      if (begin !== null && document.querySelector(".bars li")) resolve(performance.now() - begin);
    }).observe(document.querySelector("#answer"), { childList: true, subtree: true });
  });
}"""


if __name__ == "__main__":
    main()
