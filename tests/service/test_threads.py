"""CPU quotas of cgroup files → a number of threads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service import threads


def put(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


def found(root: Path, membership: str, files: dict[str, str], *, affinity: int = 16) -> int:
    mount = put(root / "cgroup", files)
    proc = put(root / "proc", {"cgroup": membership}) / "cgroup"
    return threads.available(mount=mount, membership=proc, affinity=affinity)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("max 100000", 16), ("3200000 100000", 16)],
)
def test_a_version_2_quota_in_a_container(tmp_path: Path, quota: str, expected: int) -> None:
    """Whole CPUs, at least one, at most those of the affinity."""
    assert found(tmp_path, "0::/", {"cpu.max": quota}) == expected


def test_the_tightest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    """A slice above may allow less than the group itself."""
    files = {"cpu.max": "max 100000", "a/cpu.max": "300000 100000", "a/b/cpu.max": "600000 100000"}
    assert found(tmp_path, "0::/a/b", files) == 3


def test_a_path_of_the_host_that_is_not_mounted_is_passed_over(tmp_path: Path) -> None:
    """The container's own part of the tree is the root then."""
    assert found(tmp_path, "0::/docker/0123", {"cpu.max": "400000 100000"}) == 4


@pytest.mark.parametrize("controllers", ["cpu,cpuacct", "cpuacct,cpu", "cpu"])
def test_a_version_1_quota(tmp_path: Path, controllers: str) -> None:
    """Under any of the names that the controller is mounted by."""
    files = {f"{controllers}/cpu.cfs_quota_us": "300000", f"{controllers}/cpu.cfs_period_us": "100000"}
    assert found(tmp_path, f"4:memory:/x\n3:{controllers}:/docker/0123", files) == 3


def test_no_quota_in_version_1_is_minus_one(tmp_path: Path) -> None:
    """Then the affinity decides."""
    files = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    assert found(tmp_path, "3:cpu:/", files, affinity=5) == 5


def test_no_cgroup_at_all_leaves_the_affinity(tmp_path: Path) -> None:
    """As on a machine without control groups."""
    missing = tmp_path / "missing"
    assert threads.available(mount=missing, membership=missing) == len(os.sched_getaffinity(0))
