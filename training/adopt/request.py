"""What the two processes of an import hand each other, as files of one folder: no pickle, nothing that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

REQUEST, OUTCOME = "request.json", "outcome.json"
FILE, GRAPH = "file.onnx", "model.onnx"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(_Part):
    """Of the process that may be hurt: what to make of `file.onnx`.

    `validation.npz` and `test.npz` may lie beside it: `x` float64 [rows, columns] or pixels, `y` int64 [rows].
    """

    labels: tuple[str, ...]
    columns: tuple[str, ...] = ()
    image: tuple[int, ...] = ()
    pixels: tuple[float, float] | None = None
    output: str | None = None
    risk: float = Field(gt=0.0, lt=1.0)
    memory_bytes: int
    cpu_seconds: int
    file_bytes: int


class Reason(_Part):
    """A refusal, in its four parts."""

    where: str
    field: str
    expected: str
    found: str


class Outcome(_Part):
    """What has become of it: members of the manifest for the graph in `model.onnx`, or a reason."""

    members: dict[str, JsonValue] = Field(default_factory=dict)
    imported: dict[str, JsonValue] = Field(default_factory=dict)
    refusal: Reason | None = None


def write(path: Path, part: Request | Outcome) -> None:
    """As JSON."""
    path.write_text(part.model_dump_json(), encoding="utf-8")


def as_json(part: BaseModel | None) -> Any:
    """A member of the manifest as JSON has it, or null."""
    return None if part is None else part.model_dump(mode="json")
