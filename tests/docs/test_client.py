"""docs/client.md keeps its word: its Python runs, one block after the other, and gives what it says."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import artifacts
from tests.service.running import serving

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
URL = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service of the shipped digits, and of the two models that the page speaks of."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / "mnist", models / "mnist")
    artifacts.publish_table(models, "people")
    artifacts.publish_text(models, "tickets")
    with serving(models, tmp_path_factory.mktemp("log"), "--default-model", "mnist") as running:
        yield running.url


def test_every_block_runs_and_gives_what_it_says(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that ends in an arrow has the value behind it."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    checked = 0
    for block in BLOCKS:
        for statement in ast.parse(block.replace(URL, url)).body:
            code = ast.unparse(statement)
            expected = (
                re.search(r"# → (.*)$", block.splitlines()[statement.end_lineno - 1]) if statement.end_lineno else None
            )
            if expected is None:
                exec(code, names)  # noqa: S102  # our own document
            else:
                assert eval(code, names) == ast.literal_eval(expected[1]), code  # noqa: S307  # as above
                checked += 1
    names["client"].close()
    assert checked == PAGE.count("# →") >= 10
