"""A version, a model or a whole models folder → what its manifests say, for people or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipmax import manifest as manifests
from clipmax.cli import DONE, FAILED, Command
from clipmax.inputs import Input
from clipmax.manifest import MANIFEST_FILE, Manifest, Metrics, Training
from clipmax.ranking import Figures, Ranking
from clipmax.refusal import Refusal
from clipmax.repository import Repository

_SHOWN_LABELS = 20
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Found:
    """One version's folder with its manifest, or with the reason why it has none that counts."""

    folder: Path
    manifest: Manifest | None
    refusal: Refusal | None


def find(path: Path) -> list[Found]:
    """The versions at `path`, which is a version's folder, a model's folder or a models folder.

    Raises:
        Refusal: there is no version at all.
    """
    folders = list(_folders(path.resolve()))
    if not folders:
        raise Refusal(path, "path", expected="a version, a model or a models folder", found="no version in it")
    return [_load(folder) for folder in folders]


def describe(manifest: Manifest) -> str:
    """The manifest in some readable lines."""
    facts = {
        "created": f"{manifest.created.isoformat(timespec='seconds')}, task {manifest.task}",
        **{f"input {entry.name}": _input(entry) for entry in manifest.inputs},
        "outputs": ", ".join(manifest.outputs),
        "labels": _words(manifest.labels),
        "temperature": f"{manifest.temperature:.4f}",
        "test": _metrics(manifest.metrics) if manifest.metrics else "not measured",
        **(_ranking(manifest.ranking) if manifest.ranking else {}),
        **_optional(manifest),
        **_origin(manifest),
        "libraries": _members(manifest.libraries),
        **{f"file {name}": f"{file.bytes:,} bytes, sha256 {file.sha256}" for name, file in manifest.files.items()},
        "golden": f"{len(manifest.golden)} examples",
    }
    width = max(map(len, facts))
    lines = (f"  {name:<{width}}  {text}" for name, text in facts.items())
    return "\n".join([f"{manifest.name}, version {manifest.version}", *lines])


def _optional(manifest: Manifest) -> dict[str, str]:
    """What not every manifest has."""
    facts = {}
    if conformal := manifest.conformal:
        facts["conformal"] = f"plain and adaptive scores of {conformal.plain.rows:,} rows"
    if abstention := manifest.abstention:
        facts["abstention"] = (
            f"below {_value(abstention.threshold)} for a risk of {abstention.risk:g} "
            f"(confidence {abstention.confidence_level:g}); accepted {abstention.coverage:.2%} of {abstention.rows:,}"
        )
    if novelty := manifest.novelty:
        facts["novelty"] = f"{novelty.score}, with the values of {novelty.rows:,} rows"
    return facts


def _input(entry: Input) -> str:
    """Of very many words, the first ones."""
    return ", ".join(
        f"{name} {_words(value) if isinstance(value, tuple) and len(value) > _SHOWN_LABELS else _value(value)}"
        for name, value in entry.model_dump(exclude={"name"}).items()
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _folders(path: Path) -> Iterator[Path]:
    if (path / MANIFEST_FILE).is_file():
        yield path
        return
    model = Repository(path.parent)
    if versions := model.versions(path.name):
        yield from (model.folder(path.name, version) for version in versions)
        return
    root = Repository(path)
    for name in root.names():
        yield from (root.folder(name, version) for version in root.versions(name))


def _load(folder: Path) -> Found:
    try:
        return Found(folder, manifests.load(folder), None)
    except Refusal as refusal:
        return Found(folder, None, refusal)


def _members(members: dict[Any, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in members.items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        return _members(value)
    if isinstance(value, list | tuple):
        return "×".join(map(str, value)) if all(type(part) is int for part in value) else ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _words(words: tuple[str, ...]) -> str:
    more = len(words) - _SHOWN_LABELS
    shown = ", ".join(words[:_SHOWN_LABELS])
    return f"{len(words)}: {shown}{f' and {more} more' if more > 0 else ''}"


def _origin(manifest: Manifest) -> dict[str, str]:
    """What the version was made from: a training run, or a file of another tool."""
    facts = {}
    if data := manifest.data:
        facts["data"] = _members(data.rows) + f", fingerprint {data.fingerprint[:12]}…"
    if run := manifest.training:
        facts["training"] = _training(run)
        facts |= {f"  {name}": _cut(_value(value)) for name, value in run.configuration.items()}
    if imported := manifest.imported:
        facts["imported"] = f"{imported.file} ({imported.producer or 'of an unnamed tool'}), sha256 {imported.sha256}"
        facts["  scores"] = f"{imported.scores}, from its output {imported.output}"
        facts |= {f"  change {number}": change for number, change in enumerate(imported.changes, start=1)}
        facts["  parity"] = f"within {imported.difference:.2g} of the file on {imported.probes:,} rows"
    return facts


def _metrics(test: Metrics) -> str:
    return (
        f"{test.rows:,} rows: accuracy {test.accuracy:.2%}, macro F1 {test.macro_f1:.4f}, "
        f"log loss {test.log_loss:.4f} (before temperature {test.log_loss_uncalibrated:.4f}), "
        f"Brier {test.brier:.4f}, ECE {test.ece:.2%} (before {test.ece_uncalibrated:.2%}, {test.ece_bins} bins)"
    )


def _ranking(test: Ranking) -> dict[str, str]:
    """The model's figures and, one below the other, those of the simpler methods."""
    rows = {f"  {name}": _figures(one) for name, one in test.baselines.items()}
    loss = f"log loss {test.log_loss:.4f} (before temperature {test.log_loss_uncalibrated:.4f})"
    return {"test": f"next baskets of {test.customers:,} customers: {_figures(test)}, {loss}", **rows}


def _figures(one: Figures) -> str:
    whole = f"NDCG@10 {one.ndcg_at_10:.4f}, recall@20 {one.recall_at_20:.4f}"
    if one.new_ndcg_at_10 is None:
        return whole
    return f"{whole}, on new items {one.new_ndcg_at_10:.4f} and {one.new_recall_at_20:.4f}"


def _training(run: Training) -> str:
    commit = f", git {run.git_commit[:12]}" if run.git_commit else ""
    return f"{run.epochs} epochs, weights of epoch {run.best_epoch}, seed {run.seed}{commit}"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="a version's, a model's or the models folder")
    parser.add_argument("--json", action="store_true", help="print a JSON array of manifests and refusals")


def _run(arguments: argparse.Namespace) -> int:
    found = find(arguments.path)
    print(_as_json(found) if arguments.json else "\n\n".join(map(_as_text, found)))
    return FAILED if any(entry.refusal for entry in found) else DONE


def _as_text(found: Found) -> str:
    return describe(found.manifest) if found.manifest else f"refused: {found.refusal}"


def _as_json(found: list[Found]) -> str:
    rows = [
        {
            "folder": str(entry.folder),
            "manifest": _dumped(entry.manifest) if entry.manifest else None,
            "refusal": str(entry.refusal) if entry.refusal else None,
        }
        for entry in found
    ]
    return json.dumps(rows, ensure_ascii=False, indent=1)


def _dumped(manifest: Manifest) -> dict[str, Any]:
    """As it is written: labels that lie in a file stay there."""
    is_apart = manifest.labels_file is not None
    return (manifest.model_copy(update={"labels": ()}) if is_apart else manifest).model_dump(mode="json")


COMMAND = Command(help="show what a published version says about itself", configure=_configure, run=_run)
