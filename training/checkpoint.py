"""Save and resume a run: safetensors for tensors, JSON for everything else, never pickle.

A checkpoint is one folder `<runs>/<name>/epoch-<n>`, complete or absent: it is written beside itself, fsynced and
renamed. The newest replaces the one before. The caller holds the run's lock.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor

from clipmax.refusal import Refusal, shorten
from clipmax.repository import TEMPORARY_PREFIX, remove_leftovers, write_atomically
from training.config import Run
from training.loop import EpochFigures, Progress

_TENSORS, _STATE = "tensors.safetensors", "state.json"
_FOLDER = re.compile(r"^epoch-([0-9]+)$")
_MAY_CHANGE = ("models", "runs", "threads")


def save(folder: Path, progress: Progress, run: Run, fingerprint: str) -> Path:
    """Write the checkpoint of the last finished epoch and remove older ones."""
    target = folder / f"epoch-{len(progress.epochs)}"
    state = {
        "configuration": run.model_dump(mode="json"),
        "threads": torch.get_num_threads(),
        "data": fingerprint,
        "epochs": [asdict(figures) for figures in progress.epochs],
        "best_epoch": progress.best_epoch,
        "norms": progress.norms.state_dict(),
        "optimizer": _scalars(progress.optimizer),
    }

    text = json.dumps(state)

    def write(temporary: Path) -> None:
        safetensors_torch.save_file(_tensors(progress), temporary / _TENSORS)  # from where they lie
        digest = _digest(text, temporary / _TENSORS)
        (temporary / _STATE).write_text(f"{digest}\n{text}\n", encoding="utf-8")

    try:
        write_atomically(target, write)
    except (OSError, SafetensorError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise Refusal(target, "checkpoint", expected="room and leave to write it", found=found) from error
    for epoch, older in _folders(folder):
        if epoch < len(progress.epochs):
            _discard(older)
    return target


def load_newest(folder: Path, progress: Progress, run: Run, fingerprint: str) -> int:
    """Bring `progress` to the newest checkpoint; returns its epoch, 0 where there is none.

    Raises:
        Refusal: broken, or of another configuration, other data or another number of threads, any of which would
            end with other weights than an uninterrupted run.
    """
    folders = _folders(folder)
    if not folders:
        return 0
    epoch, newest = folders[-1]
    state, tensors = _read(newest)
    _check_same(newest, state, run, fingerprint)
    progress.model.load_state_dict(_under("model", tensors))
    progress.best_weights = _under("best", tensors)
    progress.average = _under("average", tensors)
    progress.best_epoch = state["best_epoch"]
    progress.epochs = _figures(newest, state["epochs"])
    progress.norms.load_state_dict(state["norms"])
    _load_optimizer(progress.optimizer, state["optimizer"], _under("optimizer", tensors))
    return epoch


def remove(folder: Path) -> None:
    """Delete all checkpoints of a run that has become an artifact, or that starts anew."""
    remove_leftovers(folder)
    for _, checkpoint in reversed(_folders(folder)):
        _discard(checkpoint)


def _discard(checkpoint: Path) -> None:
    """Out of sight by one rename first, so that a kill in the middle leaves no half checkpoint."""
    shutil.rmtree(checkpoint.rename(checkpoint.with_name(f"{TEMPORARY_PREFIX}old-{checkpoint.name}")))


def _folders(folder: Path) -> list[tuple[int, Path]]:
    """(epoch, folder), ascending. Temporary folders do not match."""
    if not folder.is_dir():
        return []
    matches = ((_FOLDER.match(entry.name), entry) for entry in folder.iterdir())
    return sorted((int(match[1]), entry) for match, entry in matches if match)


def _tensors(progress: Progress) -> dict[str, Tensor]:
    named = {f"model/{name}": value for name, value in progress.model.state_dict().items()}
    named |= {f"best/{name}": value for name, value in progress.best_weights.items()}
    named |= {f"average/{name}": value for name, value in progress.average.items()}
    for index, values in progress.optimizer.state_dict()["state"].items():
        named |= {f"optimizer/{index}/{key}": value for key, value in values.items() if torch.is_tensor(value)}
    return {name: value if _stands_alone(value) else value.contiguous().clone() for name, value in named.items()}


def _stands_alone(value: Tensor) -> bool:
    """Whether nothing else lies in its memory: then it need not be copied, which of a million classes is 0.5 GB."""
    return value.is_contiguous() and value.untyped_storage().nbytes() == value.nbytes


def _scalars(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    """What an optimizer keeps for a parameter besides tensors (SGD without momentum keeps a None)."""
    state = optimizer.state_dict()["state"]
    return {
        str(index): {key: value for key, value in values.items() if not torch.is_tensor(value)}
        for index, values in state.items()
    }


def _load_optimizer(
    optimizer: torch.optim.Optimizer, scalars: dict[str, dict[str, Any]], tensors: dict[str, Tensor]
) -> None:
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in scalars.items()}
    for name, value in tensors.items():
        index, key = name.split("/", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _figures(folder: Path, epochs: Any) -> list[EpochFigures]:
    try:
        return TypeAdapter(list[EpochFigures]).validate_python(epochs)
    except ValidationError as error:  # written by another version of clipmax
        raise Refusal.from_validation(folder, error) from error


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Both files, if they are as they were written: a flipped bit would train on from other weights in silence."""
    try:
        written, _, text = (folder / _STATE).read_text(encoding="utf-8").partition("\n")
        found = _digest(text.removesuffix("\n"), folder / _TENSORS)
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(folder, "checkpoint", expected="a whole checkpoint", found=str(error)) from error
    if found != written:
        raise Refusal(folder, "sha256", expected=shorten(written), found=found)
    state: dict[str, Any] = json.loads(text)
    return state, safetensors_torch.load_file(folder / _TENSORS)


def _digest(text: str, tensors: Path) -> str:
    with tensors.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha256(text.encode())).hexdigest()


def _check_same(folder: Path, state: dict[str, Any], run: Run, fingerprint: str) -> None:
    before, now = _flat(state["configuration"]), _flat(run.model_dump(mode="json"))
    for key in sorted(before.keys() | now.keys()):
        if key not in _MAY_CHANGE and before.get(key) != now.get(key):
            raise Refusal(folder, key, expected=f"{before.get(key)!r} as before", found=repr(now.get(key)))
    if state["data"] != fingerprint:
        raise Refusal(folder, "data", expected="the same data as before", found="another fingerprint")
    if state["threads"] != torch.get_num_threads():
        found = str(torch.get_num_threads())
        raise Refusal(folder, "threads", expected=f"{state['threads']} as before", found=found)


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
