"""The artifact's words: one typed, versioned definition, read by the service and written by training.

`python -m clipmax.manifest` prints its JSON Schema, which lies beside the specification in `models/`.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from clipmax.abstention import Abstention
from clipmax.conformal import Tables
from clipmax.imported import Imported
from clipmax.inputs import Input
from clipmax.novelty import OUTPUT as NOVELTY
from clipmax.novelty import Novelty
from clipmax.origin import Origin
from clipmax.reference import Reference
from clipmax.refusal import Refusal
from clipmax.search import Search

FORMAT_VERSION = 1
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
LABEL_MAX_CODE_POINTS = 256
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileRecord(_Part):
    """One file of the version's folder."""

    sha256: Sha256
    bytes: int = Field(ge=0)


class Metrics(_Part):
    """What the served graph reached on the test split, which nothing was fitted on."""

    rows: int = Field(ge=1)
    accuracy: Probability
    macro_f1: Probability
    log_loss: float = Field(ge=0.0, description="mean negative log likelihood in nats, after temperature")
    brier: float = Field(ge=0.0, le=2.0, description="mean squared distance to the one-hot label, summed over classes")
    ece: Probability = Field(description="expected calibration error, equal-width bins, after temperature")
    ece_uncalibrated: Probability = Field(description="the same before temperature")
    log_loss_uncalibrated: float = Field(ge=0.0)
    ece_bins: int = Field(default=15, ge=1)


class Data(_Part):
    """Which data the model was trained on."""

    fingerprint: Sha256 = Field(description="over the bytes of every input and label of the three splits")
    files: dict[str, Sha256] = Field(description="file name → SHA-256 of the file as read")
    rows: dict[Literal["train", "validation", "test"], int]


class Training(_Part):
    """How the model was trained, enough to do it again."""

    seed: int
    epochs: int = Field(ge=1, description="epochs that were run")
    best_epoch: int = Field(ge=1, description="the epoch, counted from 1, whose weights are in the graph")
    configuration: dict[str, JsonValue] = Field(description="the whole run configuration, overrides applied")
    git_commit: str | None = None


class Golden(_Part):
    """One input, as an instance of the V1 protocol, with the probabilities that training computed for it."""

    instance: JsonValue
    probabilities: tuple[Probability, ...]


class Seal(_Part):
    """What a reader checks first: the lengths of the lists, then one hash over all other members."""

    labels: int
    golden: int
    sha256: Sha256


class Manifest(_Part):
    """The content of `manifest.json`. See `models/README.md` for each member in words."""

    format_version: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    version: int = Field(ge=1)
    created: datetime
    task: Literal["classification"] = "classification"
    inputs: tuple[Input, ...] = Field(min_length=1)
    outputs: tuple[Literal["logits", "probabilities", "novelty"], ...] = ("logits", "probabilities")
    labels: tuple[str, ...] = Field(min_length=2)
    label_metadata: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    temperature: float = Field(gt=0.0)
    metrics: Metrics | None = None
    conformal: Tables | None = None
    abstention: Abstention | None = None
    novelty: Novelty | None = None
    reference: Reference | None = None
    origin: Origin | None = None
    search: Search | None = None
    data: Data | None = None
    training: Training | None = None
    imported: Imported | None = None
    libraries: dict[str, str]
    files: dict[str, FileRecord]
    golden: tuple[Golden, ...] = Field(min_length=1)
    seal: Seal

    @field_validator("created")
    @classmethod
    def _check_created(cls, created: datetime) -> datetime:
        if created.tzinfo is None:
            raise ValueError("a time with its offset from UTC")
        return created

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        fault = label_fault(labels)
        if fault:
            raise ValueError(fault)
        return labels

    @model_validator(mode="after")
    def _check_together(self) -> Manifest:
        unknown = set(self.label_metadata) - set(self.labels)
        if unknown:
            raise ValueError(f"label_metadata only for known labels; {len(unknown)} are unknown")
        for index, example in enumerate(self.golden):
            if len(example.probabilities) != len(self.labels):
                raise ValueError(
                    f"{len(self.labels)} probabilities in golden example {index} (one a label); "
                    f"it has {len(example.probabilities)}"
                )
        if (self.novelty is None) != (NOVELTY not in self.outputs):
            raise ValueError(f"the output {NOVELTY} where there are values of calibration rows, and only there")
        if MODEL_FILE not in self.files:
            raise ValueError(f"{MODEL_FILE} among files")
        if self.imported is None and (self.metrics is None or self.data is None or self.training is None):
            raise ValueError("metrics, data and training, or imported instead")
        return self


def label_fault(labels: Sequence[str]) -> str | None:
    """What is wrong with a list of labels, or None: unique after NFC, no control characters, bounded length."""
    for index, label in enumerate(labels):
        if not label or len(label) > LABEL_MAX_CODE_POINTS:
            return f"labels of 1 to {LABEL_MAX_CODE_POINTS} code points; label {index} has {len(label)}"
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in label):
            return f"labels without control characters; label {index} has one"
    normalized = [unicodedata.normalize("NFC", label) for label in labels]
    if len(set(normalized)) != len(normalized):
        return f"labels that differ after Unicode NFC; {len(normalized) - len(set(normalized))} repeat another"
    return None


def seal(document: dict[str, Any]) -> dict[str, Any]:
    """The document with its seal added, the last step of writing one."""
    return {**document, "seal": _seal_of(document)}


def dump(document: dict[str, Any]) -> bytes:
    """A sealed document as the bytes of `manifest.json`, validated."""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    parse(text.encode(), where=MANIFEST_FILE)
    return text.encode()


def load(folder: Path) -> Manifest:
    """Read and check `manifest.json` of one version's folder: syntax, schema, seal, and that it belongs there.

    Raises:
        Refusal: with file, field, expected and found.
    """
    path = folder / MANIFEST_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Refusal(path, "file", expected="a readable manifest", found=error.strerror or "an error") from error
    manifest = parse(content, where=path)
    _check_place(manifest, folder, path)
    return manifest


def parse(content: bytes, *, where: str | Path) -> Manifest:
    """The typed manifest of the bytes of a `manifest.json`.

    Raises:
        Refusal: with `where`, field, expected and found.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refusal(where, "document", expected="JSON in UTF-8", found="something else") from error
    if not isinstance(document, dict):
        raise Refusal(where, "document", expected="a JSON object", found=type(document).__name__)
    if document.get("format_version") != FORMAT_VERSION:
        found = repr(document.get("format_version"))
        raise Refusal(where, "format_version", expected=str(FORMAT_VERSION), found=found)
    _check_seal(document, where)
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise Refusal.from_validation(where, error) from error


def _seal_of(document: dict[str, Any]) -> dict[str, Any]:
    body = {key: value for key, value in document.items() if key != "seal"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return {
        "labels": len(document["labels"]),
        "golden": len(document["golden"]),
        "sha256": hashlib.sha256(canonical).hexdigest(),
    }


def _check_seal(document: dict[str, Any], where: str | Path) -> None:
    """The lengths first, so that the message names the list that changed."""
    for member in ("labels", "golden"):
        if not isinstance(document.get(member), list):
            raise Refusal(where, member, expected="a list", found=type(document.get(member)).__name__)
    found = document.get("seal")
    if not isinstance(found, dict):
        raise Refusal(where, "seal", expected="an object", found=type(found).__name__)
    try:
        actual = _seal_of(document)
    except (ValueError, RecursionError) as error:  # a lone surrogate, or nested too deeply
        raise Refusal(where, "document", expected="text that UTF-8 can hold", found="something else") from error
    for member in ("labels", "golden"):
        if found.get(member) != actual[member]:
            raise Refusal(where, member, expected=f"{found.get(member)} entries", found=f"{actual[member]}")
    if found.get("sha256") != actual["sha256"]:
        raise Refusal(where, "seal.sha256", expected=f"{found.get('sha256')}", found=actual["sha256"])


def _check_place(manifest: Manifest, folder: Path, path: Path) -> None:
    if manifest.name != folder.parent.name:
        raise Refusal(path, "name", expected=f"{folder.parent.name} (its folder)", found=manifest.name)
    if str(manifest.version) != folder.name:
        raise Refusal(path, "version", expected=f"{folder.name} (its folder)", found=str(manifest.version))


def json_schema() -> str:
    """The JSON Schema (draft 2020-12) of `manifest.json`."""
    schema = Manifest.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
