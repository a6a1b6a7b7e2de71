"""The models folder: a version is there whole or not at all, whatever interrupts its publisher."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clipmax import manifest
from clipmax.refusal import Refusal
from clipmax.repository import Repository, read_verified, verify_files
from tests.clipmax.versions import GRAPH, publish

ROOT = Path(__file__).parents[2]


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below `folder` with its content and time of change."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(files)}


def test_versions_are_numbered_from_one(tmp_path: Path) -> None:
    """Each publication is the next version of its own model."""
    folders = [publish(tmp_path), publish(tmp_path), publish(tmp_path, "letters")]
    assert [str(folder.relative_to(tmp_path)) for folder in folders] == ["digits/1", "digits/2", "letters/1"]
    repository = Repository(tmp_path)
    assert repository.names() == ["digits", "letters"]
    assert repository.versions("digits") == [1, 2]
    for folder in folders:
        verify_files(folder, manifest.load(folder))


def test_a_number_is_not_given_twice_while_a_later_one_exists(tmp_path: Path) -> None:
    """A gap stays a gap: version 2 never means two things."""
    for _ in range(3):
        publish(tmp_path)
    (tmp_path / "digits" / "2").rename(tmp_path / "away")
    assert publish(tmp_path).name == "4"


@pytest.mark.parametrize("name", ["0", "01", "-1", "1.0", "1 ", "x", ".publishing-2-ab", "1000000000", "²"])
def test_only_numbers_are_versions(name: str, tmp_path: Path) -> None:
    """Another folder does not exist for a reader."""
    publish(tmp_path)
    (tmp_path / "digits" / name).mkdir()
    assert Repository(tmp_path).versions("digits") == [1]


def test_a_file_is_no_version_and_no_model(tmp_path: Path) -> None:
    """Nor does a models folder have to exist."""
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "1").touch()
    (tmp_path / "README.md").touch()
    assert Repository(tmp_path).names() == []
    assert Repository(tmp_path / "none").names() == []


def test_publishers_at_the_same_time_get_different_versions(tmp_path: Path) -> None:
    """Eight threads, eight whole versions."""
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: publish(tmp_path), range(8)))
    assert sorted(int(folder.name) for folder in folders) == list(range(1, 9))
    for folder in folders:
        verify_files(folder, manifest.load(folder))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_a_failed_publication_leaves_nothing(error: BaseException, tmp_path: Path) -> None:
    """Whatever stops it, the versions before are as they were and no other is there."""
    publish(tmp_path)
    before = snapshot(tmp_path)

    def write(folder: Path, _: int) -> None:
        (folder / "model.onnx").write_bytes(GRAPH)
        raise error

    with pytest.raises(type(error)):
        Repository(tmp_path).publish("digits", write)
    assert snapshot(tmp_path) == before
    assert sorted(path.name for path in (tmp_path / "digits").iterdir()) == [".lock", "1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_leaves_the_old_version(tmp_path: Path) -> None:
    """A real one, of one megabyte."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        publish(tmp_path)
        before = snapshot(tmp_path)
        with pytest.raises(OSError, match="No space left"):
            Repository(tmp_path).publish("digits", lambda folder, _: fill(folder / "model.onnx"))
        assert snapshot(tmp_path) == before
        assert publish(tmp_path).name == "2"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def fill(path: Path) -> None:
    path.write_bytes(bytes(2 << 20))


KILLED = """
import sys, time
from pathlib import Path
from clipmax.repository import Repository

def write(folder, version):
    (folder / "model.onnx").write_bytes(b"half")
    print(folder, flush=True)
    time.sleep(60)

Repository(Path(sys.argv[1])).publish("digits", write)
"""


def test_a_killed_publisher_leaves_nothing_loadable(tmp_path: Path) -> None:
    """`kill -9` in the middle: the half version does not exist for a reader, and the next publisher removes it."""
    publish(tmp_path)
    publisher = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with publisher:
        assert publisher.stdout is not None
        temporary = Path(publisher.stdout.readline().strip())
        publisher.send_signal(signal.SIGKILL)
    assert (temporary / "model.onnx").read_bytes() == b"half"
    assert Repository(tmp_path).versions("digits") == [1]
    assert publish(tmp_path).name == "2"
    assert not temporary.exists()


def test_a_living_publisher_is_waited_for(tmp_path: Path) -> None:
    """Its temporary folder is not taken for a leftover."""
    publisher = subprocess.Popen(
        [sys.executable, "-c", KILLED.replace("60", "0.5"), tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with publisher:
        assert publisher.stdout is not None
        publisher.stdout.readline()
        assert publish(tmp_path).name == "2"
    assert publisher.returncode == 0
    assert Repository(tmp_path).versions("digits") == [1, 2]


def test_readers_see_a_version_only_whole(tmp_path: Path) -> None:
    """Whenever a reader looks while versions come, each that it lists can be verified."""
    repository = Repository(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        published = pool.submit(lambda: [publish(tmp_path) for _ in range(20)])
        deadline = time.monotonic() + 60
        while not published.done() and time.monotonic() < deadline:
            for version in repository.versions("digits"):
                folder = repository.folder("digits", version)
                verify_files(folder, manifest.load(folder))
        assert len(published.result()) == 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes([GRAPH[0] ^ 1]) + GRAPH[1:], "sha256: expected [0-9a-f]{64}, found [0-9a-f]{64}"),
        (GRAPH[:-1], f"size: expected {len(GRAPH)} bytes, found {len(GRAPH) - 1}"),
        (b"", "size: expected"),
        (None, "file: expected a readable file, found No such file or directory"),
    ],
    ids=["a flipped bit", "truncated", "empty", "missing"],
)
def test_a_file_that_is_not_the_published_one_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    """With file, field, expected and found."""
    folder = publish(tmp_path)
    path = folder / "model.onnx"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Refusal, match=message) as caught:
        read_verified(folder, manifest.load(folder), "model.onnx")
    assert caught.value.where == str(path)
