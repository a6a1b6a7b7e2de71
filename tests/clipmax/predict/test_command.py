"""`clipmax predict` and a service: what is sent, and what is printed of the answers."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pty
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from clipmax import cli
from tests.clipmax.scripted import Scripted, answer, problem, serving

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)


def save(folder: Path, name: str) -> Path:
    np.save(folder / name, PIXELS)
    return folder / name


def predict(*arguments: str | Path) -> int:
    return cli.main(["predict", *map(str, arguments)])


@pytest.fixture
def server() -> Any:
    """Answers three rows."""
    with serving(answer("seven", "one", "four")) as server:
        yield server


def test_every_row_is_a_line(server: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its number, label and probability."""
    assert predict(save(tmp_path, "a.npy"), "--url", server.url) == cli.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["0", "seven", "75.00%"],
        ["1", "one", "75.00%"],
        ["2", "four", "75.00%"],
    ]


def test_json_lines_hold_everything(server: Scripted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a row, for other programs."""
    assert predict(save(tmp_path, "a.npy"), "--url", server.url, "--json") == cli.DONE
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["row"], row["label"], row["model"]) for row in rows] == [
        (0, "seven", "digits"),
        (1, "one", "digits"),
        (2, "four", "digits"),
    ]


def test_options_reach_the_service(server: Scripted, tmp_path: Path) -> None:
    """Model, version, what to answer and the key."""
    key = tmp_path / "key"
    key.write_text("secret\n")
    options = ["--model", "digits", "--version", "2", "--top-k", "5", "--probabilities", "--api-key-file", str(key)]
    predict(save(tmp_path, "a.npy"), "--url", server.url, *options)
    (request,) = server.requests
    assert request.path == "/v1/models/digits/versions/2:predict"
    assert request.body["parameters"] == {"top_k": 5, "probabilities": True}
    assert request.headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("options", "rows"), [(["--index", "2"], PIXELS[2:]), (["--limit", "2"], PIXELS[:2]), (["--limit", "9"], PIXELS)]
)
def test_rows_can_be_chosen(options: list[str], rows: npt.NDArray[np.uint8], server: Scripted, tmp_path: Path) -> None:
    """One by its number, or the first ones."""
    predict(save(tmp_path, "a.npy"), "--url", server.url, *options)
    assert server.requests[0].body["instances"] == rows.tolist()


def test_a_chosen_row_keeps_its_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the output too."""
    with serving(answer("four")) as server:
        predict(save(tmp_path, "a.npy"), "--url", server.url, "--index", "2")
    assert capsys.readouterr().out.split()[0] == "2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--index", "3"], "index: expected 0 to 2, found 3"),
        (["--index", "-1"], "index: expected 0 to 2, found -1"),
        (["--output", "answers.txt"], "answers.txt: file: expected a name that ends in .csv, .jsonl, .parquet"),
        (["--version", "2"], "--version: --model: expected the name of the model too, found nothing"),
    ],
)
def test_a_choice_that_is_none_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line."""
    assert predict(save(tmp_path, "a.npy"), *options) == cli.FAILED
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--limit", "0"],
        ["--url", "localhost"],
        ["--index", "1", "--limit", "1"],
        ["--url", "http://a", "--models", "b"],
    ],
)
def test_wrong_usage_is_2(options: list[str], tmp_path: Path) -> None:
    """Before anything is read."""
    with pytest.raises(SystemExit) as caught:
        predict(tmp_path / "none", *options)
    assert caught.value.code == 2


def test_an_error_of_the_service_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With code and place."""
    with serving(problem("MODEL_NOT_FOUND")) as server:
        assert predict(save(tmp_path, "a.npy"), "--url", server.url) == cli.FAILED
    assert capsys.readouterr().err == "clipmax: MODEL_NOT_FOUND (404) at /instances/3: what was expected\n"


def test_images_are_sent_as_they_are_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their bytes in base64, those of a folder by name; the service decodes."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for name in ("b.png", "a.JPEG", "notes.txt"):
        Image.fromarray(PIXELS[0]).save(folder / name, "PNG")
    alone = tmp_path / "c.jpg"
    Image.fromarray(PIXELS[0]).save(alone)
    with serving(answer("seven", "one", "four")) as server:
        assert predict(folder, alone, "--url", server.url) == cli.DONE
    paths = [folder / "a.JPEG", folder / "b.png", alone]
    assert [base64.b64decode(row["b64"]) for row in server.requests[0].body["instances"]] == [
        path.read_bytes() for path in paths
    ]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(map(str, paths))


def test_several_files_are_only_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of several tables would have no numbers of their own."""
    assert predict(save(tmp_path, "a.npy"), save(tmp_path, "b.npy")) == cli.FAILED
    assert "files: expected one, or several that are images or folders, found 2" in capsys.readouterr().err


def everything(terminal: int) -> str:
    """All that was written to the other end, which is closed by now."""
    found = b""
    with contextlib.suppress(OSError):  # EIO, as Linux says of its end
        while chunk := os.read(terminal, 4096):
            found += chunk
    os.close(terminal)
    return found.decode()


def test_progress_is_shown_on_a_terminal_only(server: Scripted, tmp_path: Path, monkeypatch: Any) -> None:
    """And leaves nothing behind; lines on the same terminal say enough by themselves."""
    monkeypatch.setattr("clipmax.predict.progress._SECONDS_BETWEEN", 0.0)
    shown = {}
    for has_output in (True, False):
        ours, theirs = pty.openpty()
        with os.fdopen(theirs, "w") as terminal:
            monkeypatch.setattr(sys, "stderr", terminal)
            monkeypatch.setattr(sys, "stdout", io.StringIO() if has_output else terminal)
            assert predict(save(tmp_path, "a.npy"), "--url", server.url) == cli.DONE
        shown[has_output] = everything(ours)
    assert "3 rows" in shown[True]
    assert shown[True].endswith("\r")
    assert "3 rows" not in shown[False]
