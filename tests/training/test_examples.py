"""The examples run as they lie in the repository."""

from __future__ import annotations

from pathlib import Path

from clipmax import manifest as manifest_module
from training import run, run_file

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_census_rows_train_on_their_sample(tmp_path: Path) -> None:
    """With the defaults for rows, to well above the share of the larger class (77 %), and calibrated."""
    settings = run_file.read(
        EXAMPLES / "adult" / "adult.toml", [f"models={tmp_path}/models", f"runs={tmp_path}/runs", "threads=1"]
    )
    said: list[str] = []
    outcome = run.train(settings, say=said.append)
    assert outcome.metrics.accuracy > 0.82
    assert outcome.metrics.log_loss < 0.40
    manifest = manifest_module.load(outcome.folder)
    assert [schema.kind for schema in manifest.inputs].count("number") == 6
    assert any(line.startswith("data: missing: ") and "'occupation'" in line for line in said)
