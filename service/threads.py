"""How many threads this process may keep busy: the CPU quota of its cgroup, else its affinity."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available(
    *,
    mount: Path = Path("/sys/fs/cgroup"),
    membership: Path = Path("/proc/self/cgroup"),
    affinity: int | None = None,
) -> int:
    """Whole CPUs that the quota grants, at least 1 and never more than the affinity allows.

    A quota of 2.5 CPUs gives 2: a third thread would run half the time and be throttled for the rest,
    with the others waiting for it at the end of every operator.

    Args:
        mount: where the cgroup file systems are mounted.
        membership: the process's own `/proc/self/cgroup`.
        affinity: CPUs the scheduler may use; None asks the kernel.
    """
    bound = affinity if affinity is not None else len(os.sched_getaffinity(0))
    quotas = list(_quotas(mount, membership))
    return max(1, min([bound, *(int(quota) for quota in quotas)]))


def _quotas(mount: Path, membership: Path) -> Iterator[float]:
    """Every quota that applies, in CPUs: of the process's own group and of each group above it.

    A container often sees the path that its group has on the host but only its own part of the tree, mounted
    as the root; groups that are not there are passed over and the root is always read.
    """
    for line in ["0::/", *_lines(membership)]:
        _, controllers, path = line.split(":", 2)
        groups = [PurePosixPath(path), *PurePosixPath(path).parents]
        for group in groups:
            relative = str(group).lstrip("/")
            if not controllers:
                yield from _v2_quota(mount / relative)
            elif "cpu" in controllers.split(","):
                yield from _v1_quota(mount / controllers / relative)
                yield from _v1_quota(mount / "cpu" / relative)


def _v2_quota(group: Path) -> Iterator[float]:
    """`cpu.max` holds "max 100000" or "<quota> <period>", in microseconds."""
    for line in _lines(group / "cpu.max"):
        quota, period = line.split()
        if quota != "max":
            yield int(quota) / int(period)


def _v1_quota(group: Path) -> Iterator[float]:
    """A quota of -1 means none."""
    quota, period = _lines(group / "cpu.cfs_quota_us"), _lines(group / "cpu.cfs_period_us")
    if quota and period and int(quota[0]) > 0:
        yield int(quota[0]) / int(period[0])


def _lines(path: Path) -> list[str]:
    """The lines of a small file; none where there is no such file."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
