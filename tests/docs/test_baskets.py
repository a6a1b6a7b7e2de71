"""What docs/baskets.md says to do with a table of purchases makes histories that a request may hold."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from clipmax import history

ROOT = Path(__file__).parents[2]


def test_a_table_of_purchases_becomes_histories(tmp_path: Path) -> None:
    """A line a customer, every purchase in the past."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "baskets.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    rows = [json.loads(line) for line in (tmp_path / "histories.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 299
    for row in rows:
        del row["CustomerID"]
        found = history.read(row, "", max_length=10_000)
        assert min(found.days_ago) > 0
