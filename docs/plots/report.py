"""The pictures of docs/report.md: the report of one published version, as Chromium shows it.

    python docs/plots/report.py models/mnist/1

Needs Chromium; PNGs are reduced to 128 colours, so that they stay small.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parents[1] / "images"
COLOURS = 128
SHOTS = {
    # name: (width, height of the window, top of the picture, its height, dark)
    "report-desk": (1280, 1500, 0, 1480, False),
    "report-desk-dark": (1280, 1500, 0, 1480, True),
    "report-classes": (1280, 5200, 2440, 2400, False),
    "report-phone": (390, 2000, 0, 1900, False),
}


def main(folder: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("needs chromium")
    for name, (width, height, top, kept, dark) in SHOTS.items():
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "shot.png"
            shoot(browser, folder / "report.html", path, width=width, height=height, dark=dark)
            picture = Image.open(path).convert("RGB").crop((0, top, width, top + kept))
        picture.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            IMAGES / f"{name}.png", optimize=True
        )


def shoot(browser: str, page: Path, to: Path, *, width: int, height: int, dark: bool) -> None:
    """One picture of a window of this size."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}"]
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [browser, *flags, scheme, f"--screenshot={to}", page.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=60)  # found above


if __name__ == "__main__":
    main(Path(sys.argv[1]))
