"""`digits.py` → `digits.ipynb`, executed: `python examples/digits/build.py`."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
SOURCE, NOTEBOOK = FOLDER / "digits.py", FOLDER / "digits.ipynb"
PATIENCE_SECONDS = 300


def convert() -> NotebookNode:
    """The notebook of the script, without outputs; cells are numbered, so that building again changes nothing."""
    notebook = jupytext.read(SOURCE)
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{place}"
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def executed() -> NotebookNode:
    """The same with the outputs of a fresh kernel; raises where a cell does."""
    notebook = convert()
    NotebookClient(
        notebook, timeout=PATIENCE_SECONDS, resources={"metadata": {"path": str(FOLDER)}}, record_timing=False
    ).execute()
    del notebook.metadata["language_info"]  # the version of Python that ran it
    return notebook


if __name__ == "__main__":
    nbformat.write(executed(), NOTEBOOK)
