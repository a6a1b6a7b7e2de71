"""`clipmax verify` and the ends of `clipmax serve`."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipmax.cli import DONE, FAILED, main
from tests import artifacts
from tests.service.engine import breaking
from tests.service.running import command


@pytest.fixture
def root(tmp_path: Path) -> Path:
    artifacts.publish(tmp_path)
    artifacts.publish(tmp_path)
    artifacts.publish(tmp_path, "other")
    return tmp_path


@pytest.mark.parametrize(("path", "count"), [("", 3), ("tiny", 2), ("tiny/2", 1)])
def test_verify_takes_a_version_a_model_or_all(
    root: Path, path: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each version that is as it was published."""
    assert main(["verify", str(root / path)]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == count
    assert all(line.startswith("ok ") and "3 golden examples" in line for line in lines)


@pytest.mark.parametrize("path", ["", "tiny", "tiny/2"])
def test_verify_names_what_is_wrong(root: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr and exit code 1."""
    breaking.flip_bit(root / "tiny" / "2")
    assert main(["verify", str(root / path)]) == FAILED
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert "tiny/2/model.onnx: sha256: expected " in written


@pytest.mark.parametrize("path", ["missing", "missing/1", "tiny/1/model.onnx"])
def test_verify_refuses_what_holds_no_version(root: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Rather than find nothing wrong with nothing."""
    assert main(["verify", str(root / path)]) == FAILED
    assert capsys.readouterr().err.count("\n") == 1


def test_serve_ends_when_there_is_nothing_to_serve(tmp_path: Path) -> None:
    """With every reason in one line, after the log's."""
    breaking.half_copy(artifacts.publish(tmp_path))
    done = command("serve", "--models", str(tmp_path), "--port", "0")
    assert done.returncode == FAILED
    last = done.stderr.splitlines()[-1]
    assert last.startswith("clipmax: ")
    assert "model.onnx: file: expected a readable file" in last
