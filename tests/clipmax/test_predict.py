"""`clipmax predict`: every kind of file becomes rows, every row one line."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from clipmax import cli
from clipmax.predict import pieces, read
from clipmax.refusal import Refusal
from tests.clipmax.scripted import Scripted, answer, problem, serving

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)


def save(folder: Path, name: str, pixels: npt.NDArray[Any] = PIXELS) -> Path:
    """The pixels in the format that the name says."""
    path = folder / name
    match path.suffix:
        case ".npy":
            np.save(path, pixels)
        case ".npz":
            np.savez_compressed(path, digits=pixels)
        case ".json":
            path.write_text(json.dumps({"instances": pixels.tolist()} if name == "body.json" else pixels.tolist()))
        case ".gz":
            path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, *pixels.shape) + pixels.tobytes()))
        case _:
            path.write_bytes(struct.pack(">4I", 0x803, *pixels.shape) + pixels.tobytes())
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.NPY", "a.npz", "a.json", "body.json", "idx3-ubyte.gz", "idx3-ubyte"])
def test_every_kind_of_file_gives_its_rows(name: str, tmp_path: Path) -> None:
    """The same, whatever the format."""
    rows = read(save(tmp_path, name.lower()).rename(tmp_path / name))
    np.testing.assert_array_equal(np.asarray(rows), PIXELS)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG"])
def test_an_image_is_sent_as_it_is(name: str, tmp_path: Path) -> None:
    """Its bytes in base64; the service decodes."""
    path = tmp_path / name
    Image.fromarray(PIXELS[0]).save(path)
    (row,) = read(path)
    assert isinstance(row, dict)
    assert base64.b64decode(row["b64"]) == path.read_bytes()


BAD_FILES: dict[str, bytes] = {
    "empty.npy": b"",
    "junk.npy": b"junk",
    "junk.npz": b"PK\x03\x04junk",
    "junk.json": b"{",
    "number.json": b"1",
    "object.json": b'{"rows": []}',
    "junk.txt": b"hello",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_not_what_its_name_says_is_refused(name: str, tmp_path: Path) -> None:
    """With its path."""
    path = tmp_path / name
    path.write_bytes(BAD_FILES[name])
    with pytest.raises(Refusal) as caught:
        read(path)
    assert caught.value.where == str(path)


def test_arrays_that_are_no_rows_of_numbers_are_refused(tmp_path: Path) -> None:
    """Objects above all: numpy would unpickle them."""
    for name, array in {
        "objects": np.array([{}], dtype=object),
        "words": np.array(["a"]),
        "scalar": np.array(1.0),
    }.items():
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(Refusal, match=r"array: expected"):
            read(tmp_path / f"{name}.npy")
    np.savez(tmp_path / "two.npz", a=PIXELS, b=PIXELS)
    with pytest.raises(Refusal, match="arrays: expected one, found 2"):
        read(tmp_path / "two.npz")


@pytest.mark.parametrize(
    ("shape", "largest"), [((1000, 2), 256), ((1000, 28, 28), 255), ((3, 500_000), 1), ((0, 2), 0)]
)
def test_a_request_carries_a_bounded_number_of_values(shape: tuple[int, ...], largest: int) -> None:
    """And the pieces together are the whole."""
    array = np.zeros(shape, np.uint8)
    found = list(pieces(array))
    assert max(map(len, found), default=0) == largest
    assert sum(map(len, found)) == len(array)


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
    """Model, version, top_k and the key."""
    key = tmp_path / "key"
    key.write_text("secret\n")
    options = ["--model", "digits", "--version", "2", "--top-k", "5", "--api-key-file", str(key)]
    predict(save(tmp_path, "a.npy"), "--url", server.url, *options)
    (request,) = server.requests
    assert request.path == "/v1/models/digits/versions/2:predict"
    assert request.body["parameters"] == {"top_k": 5}
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
        (["--version", "2"], "--version: --model: expected the name of the model too, found nothing"),
    ],
)
def test_a_choice_that_is_none_is_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line."""
    assert predict(save(tmp_path, "a.npy"), *options) == cli.FAILED
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--limit", "0"], ["--url", "localhost"], ["--index", "1", "--limit", "1"]])
def test_wrong_usage_is_2(options: list[str], tmp_path: Path) -> None:
    """Before anything is read."""
    with pytest.raises(SystemExit) as caught:
        predict(tmp_path / "none", *options)
    assert caught.value.code == 2


def test_an_error_of_the_service_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With code and place."""
    with serving(problem("INPUT_SHAPE")) as server:
        assert predict(save(tmp_path, "a.npy"), "--url", server.url) == cli.FAILED
    assert capsys.readouterr().err == "clipmax: INPUT_SHAPE (422) at /instances/3: what was expected\n"
