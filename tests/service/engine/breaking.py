"""Published versions, changed after the fact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from clipmax import files, manifest


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest and seal it again, with the hashes of the files as they are."""
    path = folder / manifest.MANIFEST_FILE
    document = json.loads(path.read_bytes())
    change(document)
    for file in document["files"]:
        document["files"][file] = files.record((folder / file).read_bytes()).model_dump()
    in_file = document["seal"]["labels"] if document.get("labels_file") else None
    path.write_text(json.dumps(manifest.seal(document, labels=in_file)))


def rewrite_model(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change the graph and let the manifest vouch for it."""
    path = folder / manifest.MODEL_FILE
    model = onnx.load_model_from_string(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
    rewrite(folder, lambda _: None)


def flip_bit(folder: Path) -> None:
    """One bit in the middle of the graph."""
    path = folder / manifest.MODEL_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(folder: Path) -> None:
    """The graph cut in half."""
    path = folder / manifest.MODEL_FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def add_label(folder: Path) -> None:
    """A label list of another length, as somebody might edit it."""
    _edit(folder, lambda document: document["labels"].append("one more"))


def drop_golden(folder: Path) -> None:
    """One golden example less."""
    _edit(folder, lambda document: document["golden"].pop())


def half_copy(folder: Path) -> None:
    """The manifest has arrived, the model has not."""
    (folder / manifest.MODEL_FILE).unlink()


def half_manifest(folder: Path) -> None:
    """The model has arrived, and the manifest in part."""
    path = folder / manifest.MANIFEST_FILE
    path.write_bytes(path.read_bytes()[:100])


def no_manifest(folder: Path) -> None:
    """Only the model has arrived."""
    (folder / manifest.MANIFEST_FILE).unlink()


def deep_manifest(folder: Path) -> None:
    """Something nobody thinks of: JSON that no parser here can finish."""
    (folder / manifest.MANIFEST_FILE).write_text("[" * 200_000)


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest without sealing it again."""
    path = folder / manifest.MANIFEST_FILE
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
