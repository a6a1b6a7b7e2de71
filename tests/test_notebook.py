"""The notebook for newcomers: what is committed is what its source gives, and every cell runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[1] / "examples" / "digits"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """`examples/digits/build.py`."""
    specification = importlib.util.spec_from_file_location("build", FOLDER / "build.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _committed() -> NotebookNode:
    notebook: NotebookNode = nbformat.read(FOLDER / "digits.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def _cells(notebook: NotebookNode) -> list[tuple[str, str, str]]:
    return [(cell["id"], cell["cell_type"], cell["source"]) for cell in notebook["cells"]]


def test_the_committed_notebook_is_built_from_its_source(build: ModuleType) -> None:
    """Cell by cell; after a change: `python examples/digits/build.py`."""
    committed = _committed()
    nbformat.validate(committed)
    assert _cells(committed) == _cells(build.convert())
    assert all(cell.get("outputs") is not None for cell in committed["cells"] if cell["cell_type"] == "code")


def test_the_committed_outputs_name_no_folder_of_a_machine() -> None:
    """Nor a warning."""
    committed = _committed()
    for cell in committed["cells"]:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr"
            assert "/tmp" not in str(output.get("text"))  # noqa: S108  # looked for, not used
            assert "/home" not in str(output.get("text"))


def test_every_cell_runs(build: ModuleType) -> None:
    """In a fresh kernel, from the data to the answers of a real service; it ends with the service stopped."""
    notebook = build.executed()
    texts = [output["text"] for cell in notebook["cells"] for output in cell.get("outputs", []) if "text" in output]
    assert any(text.startswith("right: 9") for text in texts)
    assert texts[-1] == "the service ended with 0\n"
    assert not any(output.get("name") == "stderr" for cell in notebook["cells"] for output in cell.get("outputs", []))
