"""How far probabilities, prediction sets and abstention of the five examples hold on their whole test splits.

    OMP_NUM_THREADS=1 python bench/calibration/run.py --data FOLDER --models FOLDER [--only adult] [--dry]

The data lies as the READMEs of the examples say. Trains what is not yet at `<models>/<seed>/<name>/1`, asks
`clipmax evaluate --json`, and writes the three tables of docs/calibration.md; with `--dry` it prints them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import examples, page
from bench.examples import Example
from clipmax import manifest
from training import config, run, run_file
from training.data import sources
from training.data.recoding import recode

DOCUMENT = page.ROOT / "docs" / "calibration.md"
NAMES: Mapping[str, str] = {
    "mnist": "MNIST", "banking77": "BANKING77", "financial_sentiment": "Financial news", "csl_category": "CSL titles",
    "adult": "Adult",
}  # fmt: skip
SEEDS: Mapping[str, tuple[int, ...]] = dict.fromkeys(("banking77", "financial_sentiment", "csl_category"), (0, 1, 2))
SHOWN = (0.9, 0.95, 0.99)
TEMPERATURE_HEAD = (
    "| run | rows: for T, test | accuracy | slope, T | log loss, before → after | ECE, before → after "
    "| by chance: mean, 95 % | with T's chance: 95 % |"
)
SETS_HEAD = (
    "| run, calibration rows | asked | plain: coverage, labels a set | adaptive: coverage, labels a set | ± by chance |"
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """One version, and what `clipmax evaluate --json` says of it."""

    name: str
    temperature: float
    slope: float | None
    fitted_on: int
    promised_on: int
    evaluation: Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder a data set")
    parser.add_argument("--models", type=Path, required=True, help="where versions are, or are trained into")
    parser.add_argument("--only", action="append", choices=[example.name for example in examples.ALL])
    parser.add_argument("--dry", action="store_true", help="print instead of writing docs/calibration.md")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for example in examples.ALL:
            if not arguments.only or example.name in arguments.only:
                for seed in SEEDS.get(example.name, (0,)):
                    found.append(_measure(example, seed, arguments.data, arguments.models / str(seed), Path(folder)))
                    print(f"{found[-1].name}: measured", file=sys.stderr, flush=True)
    for part, table in TABLES.items():
        if arguments.dry:
            print(f"{table(found)}\n")
        else:
            page.write(DOCUMENT, f"bench/calibration/run.py, {part}", table(found))


def _measure(example: Example, seed: int, data: Path, models: Path, folder: Path) -> Found:
    configuration = _configuration(example, data, folder)
    version = models / example.name / "1"
    if not version.exists():
        run.train(run_file.read(configuration, [f"seed={seed}", f"models={models}", f"runs={folder}/runs"]))
    found = subprocess.run(
        [sys.executable, "-m", "clipmax.cli", "evaluate", str(version), str(configuration), "--json"],
        check=True,
        capture_output=True,
    )
    evaluation = json.loads(found.stdout)
    assert evaluation["test"]["metrics"] == evaluation["manifest_metrics"]
    return Found(
        name=f"{NAMES[example.name]}, seed {seed}" if seed else NAMES[example.name],
        evaluation=evaluation,
        temperature=manifest.load(version).temperature,
        slope=json.loads((version / "report.json").read_bytes())["slope"],
        **_rows(version, run_file.read(configuration)),
    )


def _configuration(example: Example, data: Path, folder: Path) -> Path:
    """The example's own, with the files of the whole data set."""
    text = (page.ROOT / "examples" / example.configuration).read_text(encoding="utf-8")
    for place in example.places(data, folder):
        key, file = place.removeprefix("data.").split("=", 1)
        text = re.sub(rf"^{key} = .*$", f"{key} = {json.dumps(file)}", text, flags=re.MULTILINE)
    path = folder / f"{example.name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _rows(version: Path, of: config.Run) -> dict[str, int]:
    """On how many rows the temperature and the promises stand."""
    read = sources.read(of.data, text_length=of.texts.max_length)
    dataset = recode(read, manifest.load(version).inputs, where=version)
    return {"fitted_on": len(dataset.validation), "promised_on": len(dataset.calibration)}


def _temperatures(found: Sequence[Found]) -> str:
    lines = [TEMPERATURE_HEAD, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for one in found:
        test = one.evaluation["test"]
        figures = test["metrics"]
        lines.append(
            f"| {one.name} | {one.fitted_on:,}, {figures['rows']:,} | {figures['accuracy']:.2%} | "
            f"{'–' if one.slope is None else f'{one.slope:.2f}'}, {one.temperature:.3f} "
            f"| {figures['log_loss_uncalibrated']:.4f} → {figures['log_loss']:.4f} "
            f"| {figures['ece_uncalibrated']:.2%} → {figures['ece']:.2%} "
            f"| {test['ece_noise_mean']:.2%}, {test['ece_noise_upper']:.2%} "
            f"| {test['ece_noise_upper_fitted']:.2%} |"
        )
    return _spaced(lines)


def _sets(found: Sequence[Found]) -> str:
    lines = [SETS_HEAD, "| --- | ---: | ---: | ---: | ---: |"]
    for one in found:
        by_coverage: dict[float, list[Mapping[str, Any]]] = {}
        for sets in one.evaluation["prediction_sets"]:  # plain ones first
            if sets["asked"] in SHOWN:
                by_coverage.setdefault(sets["asked"], []).append(sets)
        for place, (asked, (plain, adaptive)) in enumerate(by_coverage.items()):
            name = "" if place else f"{one.name}, {one.promised_on:,} "
            cells = " | ".join(f"{sets['coverage']:.1%}, {sets['mean_size']:.2f}" for sets in (plain, adaptive))
            lines.append(f"| {name}| {asked:.0%} | {cells} | {100 * plain['noise']:.1f} |")
    return _spaced(lines)


def _abstention(found: Sequence[Found]) -> str:
    lines = [
        "| run | threshold | answered on test | wrong among answered (95 % interval) |",
        "| --- | ---: | ---: | ---: |",
    ]
    for one in found:
        selective = one.evaluation["selective"]
        chosen, test = selective["chosen"], selective["test"]
        if chosen["threshold"] is None:
            lines.append(f"| {one.name} | none | 0 % | – |")
            continue
        lines.append(
            f"| {one.name} | {chosen['threshold']:.3f} | {test['coverage']:.1%} "
            f"| {test['risk']:.2%} ({100 * test['risk_low']:.2f} to {100 * test['risk_high']:.2f}) |"
        )
    return _spaced(lines)


def _spaced(lines: Sequence[str]) -> str:
    """With the space before a percent sign that the document has."""
    return re.sub(r"(?<=\d)%", " %", "\n".join(lines))


TABLES: Mapping[str, Callable[[Sequence[Found]], str]] = {
    "temperature": _temperatures, "sets": _sets, "abstention": _abstention,
}  # fmt: skip


if __name__ == "__main__":
    main()
