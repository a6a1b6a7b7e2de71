"""The picture of the board in docs/images: what it would show in Grafana, drawn from its file, without a Grafana.

    .venv/bin/python docs/board.py [MODELS]

A real service of two workers, a real Prometheus with the configuration and the rules of deploy/monitoring, and some
minutes of traffic: right questions, questions unlike the training data, mistakes, more than is taken, a version that is
refused. Then every panel's own queries are asked and drawn where the board's file has them. MODELS is a folder with
versions of mnist and adult, as for docs/screenshots.py.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from clipmax import idx
from docs import grafana, panels
from docs.beside import MONITORING, prometheus
from docs.screenshots import ROOT, save, serving, train

BOARD = MONITORING / "grafana" / "board.json"
OUT = ROOT / "docs" / "images" / "board.png"
SEED = 0
BOUNDS = ("--workers", "2", "--threads", "1", "--max-queue-rows", "64", "--watch-seconds", "1")
"""Small ones, so that little traffic is already more than is taken."""

Question = tuple[str, bytes]
"""A path and a body."""


def main() -> None:
    """Serve, scrape, ask, look, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="?", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = copied(given.models or train(folder / "trained"), folder / "models")
        with serving(models, folder, *BOUNDS) as url, prometheus(url.removeprefix("http://"), folder) as found:
            begin = time.time()
            live(url, models)
            span = grafana.Span(begin, time.time(), found.scrape)
            shown = list(grafana.look(json.loads(BOARD.read_text()), found, span))
            panels.draw(shown, folder / "board.png")
            save((folder / "board.png").read_bytes(), OUT)
    for one in shown:
        if one.is_empty and one.panel["type"] != "row":
            print(f"empty: {one.panel['title']}")


def copied(models: Path, folder: Path) -> Path:
    """The two models of the picture, in a folder that may be changed."""
    for name in ("mnist", "adult"):
        shutil.copytree(models / name / "1", folder / name / "1")
    return folder


def live(url: str, models: Path) -> None:
    """Some minutes in the life of a service, the last ones bad."""
    good, odd, wrong, much = usual(), unusual(), mistakes(), [large()]
    ask(url, 120, [(good, 25.0)])
    refuse(models / "adult")
    ask(url, 60, [(good, 20.0), (wrong, 2.0), (odd, 4.0)])
    ask(url, 75, [(good, 15.0), (odd, 20.0)])
    ask(url, 40, [(good, 15.0), (odd, 20.0), *[(much, 20.0)] * 6])


def refuse(versions: Path) -> None:
    """Publish a second version whose graph was cut on the way."""
    shutil.copytree(versions / "1", versions / ".2")
    manifest, graph = versions / ".2" / "manifest.json", versions / ".2" / "model.onnx"
    manifest.write_text(manifest.read_text().replace('"version": 1,', '"version": 2,', 1))
    graph.write_bytes(graph.read_bytes()[:-1])
    (versions / ".2").rename(versions / "2")


def ask(url: str, seconds: float, streams: Sequence[tuple[Sequence[Question], float]]) -> None:
    """Several clients at once, each with its questions in turn at about so many a second."""

    def client(questions: Sequence[Question], rate: float) -> None:
        chance = np.random.default_rng(SEED)
        end = time.monotonic() + seconds
        with httpx.Client(base_url=url, headers={"Content-Type": "application/json"}) as connection:
            while time.monotonic() < end:
                path, body = questions[int(chance.integers(len(questions)))]
                connection.post(path, content=body)
                time.sleep(chance.exponential(1 / rate))

    threads = [threading.Thread(target=client, args=stream) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def usual() -> list[Question]:
    """Test digits, one to eight at a time, and test rows."""
    digits, rows = pictures(), table()
    found = [digit_question(digits[index : index + 1 + index % 8]) for index in range(0, 4000, 8)]
    return found + [row_question(rows[index : index + 2]) for index in range(0, 400, 2)]


def unusual() -> list[Question]:
    """Digits upside down, in negative or of noise, and rows with unknown words and numbers out of range."""
    digits = pictures()[:600]
    noise = np.random.default_rng(SEED).integers(0, 256, digits[:200].shape)
    images = [*digits[:200, ::-1], *(255 - digits[200:300]), *noise]
    strange = [{**row, "age": 190, "workclass": "Wizard"} for row in table()[:100]]
    return [digit_question([one]) for one in images] + [row_question([one]) for one in strange]


def mistakes() -> list[Question]:
    """No JSON, another shape, a column that is missing, a model that is not there."""
    path = "/v1/models/mnist:predict"
    return [(path, b'{"instances": ['), digit_question(np.zeros((1, 9, 9), int)), ("/v1/models/mnst:predict", b"{}")]


def large() -> Question:
    """Nearly as much as is taken at a time, in negative."""
    return digit_question(255 - pictures()[:60])


def pictures() -> Any:
    """The test digits, uint8 [10000, 28, 28]."""
    return idx.read(ROOT / "examples" / "mnist" / "t10k-images-idx3-ubyte.gz")


def table() -> list[dict[str, Any]]:
    """The test rows of adult."""
    with (ROOT / "examples" / "adult" / "test-sample.csv").open(newline="") as file:
        return [
            {name: number_or_word(text) for name, text in row.items() if name != "income"}
            for row in csv.DictReader(file)
        ]


def number_or_word(text: str) -> float | str | None:
    """As a person would read it."""
    text = text.strip()
    return None if text in {"", "?"} else float(text) if text.replace(".", "", 1).isdigit() else text


def digit_question(images: Any) -> Question:
    return "/v1/models/mnist:predict", json.dumps({"instances": [np.asarray(one).tolist() for one in images]}).encode()


def row_question(rows: Sequence[dict[str, Any]]) -> Question:
    return "/v1/models/adult:predict", json.dumps({"instances": rows, "parameters": {"abstain": True}}).encode()


if __name__ == "__main__":
    main()
