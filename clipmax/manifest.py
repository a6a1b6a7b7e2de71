"""The artifact's words: one typed, versioned definition, read by the service and written by training.

`python -m clipmax.manifest` prints its JSON Schema, which lies beside the specification in `models/`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from clipmax import files as files_module
from clipmax import labels as labels_module
from clipmax.abstention import Abstention
from clipmax.conformal import Tables
from clipmax.files import FileRecord, Sha256
from clipmax.head import Head
from clipmax.imported import Imported
from clipmax.inputs import Input
from clipmax.novelty import OUTPUT as NOVELTY
from clipmax.novelty import Novelty
from clipmax.origin import Origin
from clipmax.ranking import Ranking
from clipmax.reference import Reference
from clipmax.refusal import Refusal
from clipmax.search import Search

FORMAT_VERSION = 1
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
DATA_FILE = "model.onnx.data"
"""Weights of a graph that is too large for one file, which is limited to 2 GB; the only place they may lie in."""

Output = Literal["logits", "probabilities", "novelty", "top_indices", "top_probabilities", "log_partition"]

FULL_OUTPUTS: tuple[Output, ...] = ("logits", "probabilities")
TOP_INDICES: Output = "top_indices"
TOP_PROBABILITIES: Output = "top_probabilities"
LOG_PARTITION: Output = "log_partition"
TOP_OUTPUTS = (TOP_INDICES, TOP_PROBABILITIES, LOG_PARTITION)
"""Of a graph for very many classes, in place of the full vectors."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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

    @property
    def best(self) -> tuple[int, float]:
        """The most probable class and its probability."""
        index = max(range(len(self.probabilities)), key=self.probabilities.__getitem__)
        return index, self.probabilities[index]


class TopGolden(_Part):
    """The same of a graph that answers with the most probable classes only."""

    instance: JsonValue
    top_indices: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    top_probabilities: tuple[Probability, ...] = Field(description="descending")
    log_partition: float = Field(description="log of the sum over all classes of exp(logit / temperature)")

    @property
    def best(self) -> tuple[int, float]:
        """The most probable class and its probability."""
        return self.top_indices[0], self.top_probabilities[0]

    @model_validator(mode="after")
    def _check_lengths(self) -> TopGolden:
        if len(self.top_indices) != len(self.top_probabilities):
            raise ValueError("as many indices as probabilities")
        if len(set(self.top_indices)) != len(self.top_indices):
            raise ValueError("each class once")
        return self


def _form(golden: Any) -> str:
    """Which of the two forms an example has, by its members."""
    is_top = "top_indices" in golden if isinstance(golden, Mapping) else isinstance(golden, TopGolden)
    return "top" if is_top else "full"


AnyGolden = Annotated[Annotated[Golden, Tag("full")] | Annotated[TopGolden, Tag("top")], Discriminator(_form)]


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
    outputs: tuple[Output, ...] = FULL_OUTPUTS
    labels: tuple[str, ...] = Field(description="in class order; empty in the file where there is a labels_file")
    labels_file: Literal["labels.txt"] | None = None
    label_metadata: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    temperature: float = Field(gt=0.0)
    metrics: Metrics | None = None
    ranking: Ranking | None = None
    conformal: Tables | None = None
    abstention: Abstention | None = None
    novelty: Novelty | None = None
    reference: Reference | None = None
    origin: Origin | None = None
    search: Search | None = None
    head: Head | None = None
    data: Data | None = None
    training: Training | None = None
    imported: Imported | None = None
    libraries: dict[str, str]
    files: dict[str, FileRecord]
    golden: tuple[AnyGolden, ...] = Field(min_length=1)
    seal: Seal

    @property
    def classes(self) -> int:
        """How many classes the model has, K."""
        return len(self.labels) or self.seal.labels

    @property
    def is_top(self) -> bool:
        """Whether the graph answers with the most probable classes only."""
        return self.outputs == TOP_OUTPUTS

    @property
    def answered(self) -> int:
        """How many classes the graph names in a row: K, or the k of a graph that gives the most probable ones."""
        first = self.golden[0]
        return len(first.top_indices) if isinstance(first, TopGolden) else self.classes

    @property
    def is_approximate(self) -> bool:
        """Whether the graph looks at some of the classes only, and estimates the rest."""
        return self.head is not None and self.head.approximate is not None

    @field_validator("created")
    @classmethod
    def _check_created(cls, created: datetime) -> datetime:
        if created.tzinfo is None:
            raise ValueError("a time with its offset from UTC")
        return created

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        fault = "at least 2 labels" if len(labels) == 1 else labels_module.fault(labels)
        if fault:
            raise ValueError(fault)
        return labels

    @model_validator(mode="after")
    def _check_together(self) -> Manifest:
        self._check_labels_place()
        self._check_outputs()
        self._check_golden()
        if MODEL_FILE not in self.files:
            raise ValueError(f"{MODEL_FILE} among files")
        is_measured = self.metrics is not None or self.ranking is not None
        if self.imported is None and not (is_measured and self.data and self.training):
            raise ValueError("metrics, data and training, or imported instead")
        return self

    def _check_labels_place(self) -> None:
        if self.labels_file is None:
            if not self.labels:
                raise ValueError("labels, or a labels_file")
            self._check_label_metadata()
        elif self.labels or self.seal.labels < 2:
            raise ValueError(f"no labels beside {self.labels_file}, and at least 2 of them in the seal")
        elif self.labels_file not in self.files:
            raise ValueError(f"{self.labels_file} among files")

    def _check_label_metadata(self) -> None:
        unknown = set(self.label_metadata) - set(self.labels) if self.label_metadata else ()
        if unknown:
            raise ValueError(f"label_metadata only for known labels; {len(unknown)} are unknown")

    def _check_outputs(self) -> None:
        if (self.novelty is None) != (NOVELTY not in self.outputs):
            raise ValueError(f"the output {NOVELTY} where there are values of calibration rows, and only there")
        if set(TOP_OUTPUTS) & set(self.outputs) and not self.is_top:
            raise ValueError(f"the outputs {', '.join(TOP_OUTPUTS)} and no others")

    def _check_golden(self) -> None:
        for index, example in enumerate(self.golden):
            if isinstance(example, TopGolden) != self.is_top:
                raise ValueError(f"what the outputs give in golden example {index}")
            if isinstance(example, TopGolden):
                self._check_top(index, example)
            elif len(example.probabilities) != self.classes:
                raise ValueError(
                    f"{self.classes} probabilities in golden example {index} (one a label); "
                    f"it has {len(example.probabilities)}"
                )

    def _check_top(self, index: int, example: TopGolden) -> None:
        if len(example.top_indices) != self.answered:
            raise ValueError(f"{self.answered} classes in golden example {index}, as in the first")
        if max(example.top_indices) >= self.classes:
            raise ValueError(f"classes below {self.classes} in golden example {index}")


def write(folder: Path, document: dict[str, Any]) -> None:
    """Seal a document that has all its labels, and write it into the folder of a version: the last step of publishing.

    More than 10,000 labels go into a file of their own, which is added to `files`.

    Raises:
        Refusal: what is written would not be read again.
    """
    labels = document["labels"]
    if len(labels) > labels_module.INLINE:
        document = _with_labels_file(folder, document)
    (folder / MANIFEST_FILE).write_bytes(dump(seal(document, labels=len(labels))))


def _with_labels_file(folder: Path, document: dict[str, Any]) -> dict[str, Any]:
    labels = document["labels"]
    if fault := labels_module.fault(labels):
        raise Refusal(MANIFEST_FILE, "labels", expected=fault, found=f"{len(labels):,} labels")
    content = labels_module.encode(labels)
    (folder / labels_module.FILE).write_bytes(content)
    files = {**document["files"], labels_module.FILE: files_module.record(content).model_dump()}
    return {**document, "labels": [], "labels_file": labels_module.FILE, "files": files}


def seal(document: dict[str, Any], *, labels: int | None = None) -> dict[str, Any]:
    """The document with its seal added; `labels` is their number where they lie in a file."""
    return {**document, "seal": _seal_of(document, labels)}


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
    return manifest if manifest.labels_file is None else _with_labels(manifest, folder)


def parse(content: bytes, *, where: str | Path) -> Manifest:
    """The typed manifest of the bytes of a `manifest.json`, without the labels that lie in a file.

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


def _with_labels(manifest: Manifest, folder: Path) -> Manifest:
    path = folder / labels_module.FILE
    labels = labels_module.read(path, manifest.files[labels_module.FILE], count=manifest.seal.labels)
    unknown = set(manifest.label_metadata).difference(labels) if manifest.label_metadata else ()
    if unknown:
        raise Refusal(path, "label_metadata", expected="only known labels", found=f"{len(unknown)} unknown")
    return manifest.model_copy(update={"labels": labels})


def _seal_of(document: dict[str, Any], labels: int | None = None) -> dict[str, Any]:
    body = {key: value for key, value in document.items() if key != "seal"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return {
        "labels": len(document["labels"]) if labels is None else labels,
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
        actual = _seal_of(document, _labels_in_file(document, found))
    except (ValueError, RecursionError) as error:  # a lone surrogate, or nested too deeply
        raise Refusal(where, "document", expected="text that UTF-8 can hold", found="something else") from error
    for member in ("labels", "golden"):
        if found.get(member) != actual[member]:
            raise Refusal(where, member, expected=f"{found.get(member)} entries", found=f"{actual[member]}")
    if found.get("sha256") != actual["sha256"]:
        raise Refusal(where, "seal.sha256", expected=f"{found.get('sha256')}", found=actual["sha256"])


def _labels_in_file(document: dict[str, Any], seal: dict[str, Any]) -> int | None:
    """The number that the seal states, which is compared with the file when that is read."""
    count = seal.get("labels")
    return count if document.get("labels_file") is not None and type(count) is int else None


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
