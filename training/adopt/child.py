"""A request → its outcome, from a process that the kernel bounds: whatever a file does there, it ends there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from clipmax.refusal import Refusal, shorten
from training.adopt.limits import Limits
from training.adopt.request import FILE, GRAPH, OUTCOME, REQUEST, Outcome, Request, write
from training.data.dataset import Column, Indices

_MODULE = "training.adopt.examination"


@dataclass(frozen=True, slots=True)
class Examined:
    """The finished graph, and the outcome that came with it."""

    graph: bytes
    outcome: Outcome


def examine(
    content: bytes,
    request: Request,
    data: Mapping[str, tuple[Column, Indices]],
    *,
    limits: Limits,
    where: Path,
) -> Examined:
    """Run the checks in a process of their own.

    Args:
        content: the file.
        request: what to make of it.
        data: "validation" and "test", where there are such rows: (rows, classes).
        limits: of the process.
        where: the file's path, for messages.

    Raises:
        Refusal: what the checks found, or that they came to no end within the limits.
    """
    with tempfile.TemporaryDirectory(prefix="clipmax-import-") as name:
        folder = Path(name)
        (folder / FILE).write_bytes(content)
        write(folder / REQUEST, request)
        for part, (rows, labels) in data.items():
            np.savez(folder / f"{part}.npz", x=rows, y=labels)
        _run(folder, limits, where)
        outcome = _outcome(folder, where)
        if reason := outcome.refusal:
            place = where if reason.where == "model" else reason.where
            raise Refusal(place, reason.field, expected=reason.expected, found=reason.found)
        return Examined((folder / GRAPH).read_bytes(), outcome)


def _run(folder: Path, limits: Limits, where: Path) -> None:
    """To its end, or to that of its time: then it and all that it started are killed."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # this Python and a module of ours
            [sys.executable, "-I", "-m", _MODULE, str(folder)],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            code = process.wait(limits.wall_seconds)
        except subprocess.TimeoutExpired as error:
            expected = f"checks that end within {limits.wall_seconds:g} seconds"
            raise Refusal(where, "limits", expected=expected, found="none") from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code != 0:
        raise _ended(code, folder, limits, where)


def _environment() -> dict[str, str]:
    """Nothing of ours but what Python needs: a key in the environment is no business of a file's."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _ended(code: int, folder: Path, limits: Limits, where: Path) -> Refusal:
    """The signal that ended it, or its last words."""
    bounds = f"{limits.memory_bytes / 2**30:.1f} GiB and {limits.cpu_seconds} seconds of CPU"
    if code < 0:
        found = f"ended by {signal.Signals(-code).name}"
    else:
        lines = (folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        found = shorten(lines[-1]) if lines else f"exit code {code}"
    return Refusal(where, "limits", expected=f"checks that come to an end within {bounds}", found=found)


def _outcome(folder: Path, where: Path) -> Outcome:
    """Read as what it is: written by a process that has run a stranger's file."""
    try:
        return Outcome.model_validate_json((folder / OUTCOME).read_bytes())
    except (OSError, ValidationError) as error:
        raise Refusal(where, "checks", expected="an outcome", found="none that can be read") from error
