"""What a process that runs a stranger's file may use, in the kernel's own bounds."""

from __future__ import annotations

import resource
from dataclasses import dataclass

_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the checks of one file; beyond them their process ends."""

    memory_bytes: int = 4 * _GIB
    """Of address space, libraries included: they take about one GiB."""

    cpu_seconds: int = 300
    wall_seconds: float = 600.0
    file_bytes: int = 2 * _GIB
    """Of the file, which is ONNX's own limit, and of anything that is written."""

    def apply(self) -> None:
        """Bind this process, for good."""
        bounds = {
            resource.RLIMIT_AS: self.memory_bytes,
            resource.RLIMIT_CPU: self.cpu_seconds,
            resource.RLIMIT_FSIZE: self.file_bytes,
            resource.RLIMIT_CORE: 0,
        }
        for bound, value in bounds.items():
            resource.setrlimit(bound, (value, value))
