"""A table → its place in a document, between the two marks that name the script which measured it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def write(document: Path, script: str, table: str) -> None:
    """Replace what stands between the marks; everything else stays as it is.

    Args:
        document: in which `<!-- written by SCRIPT -->` and `<!-- end … -->` stand, each on a line of its own.
        script: its path from the repository root.
        table: the new lines.
    """
    between = re.compile(
        rf"(^<!-- written by {re.escape(script)} -->\n).*?(^<!-- end[^\n]*-->$)", re.DOTALL | re.MULTILINE
    )
    text = document.read_text(encoding="utf-8")
    new, count = between.subn(lambda marks: f"{marks[1]}\n{table}\n\n{marks[2]}", text)
    if count != 1:
        raise SystemExit(f"{document}: expected the marks of {script} once, found {count}")
    document.write_text(new, encoding="utf-8")
