"""Versions that come, go and are broken while a real service answers."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests import artifacts
from tests.service.engine import breaking
from tests.service.load import BODY, HEADERS, loading
from tests.service.running import PATIENCE_SECONDS, Running, serving

FAST = ("--watch-seconds", "0.05")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def states(running: Running) -> dict[str, tuple[str, str]]:
    """Version → state and reason, as `/v2/repository/index` has them."""
    answer = httpx.post(f"{running.url}/v2/repository/index")
    return {entry["version"]: (entry["state"], entry["reason"]) for entry in answer.json()}


def is_alone(running: Running, version: str) -> bool:
    """Whether all others have drained, so that their memory is free."""
    return list(states(running)) == [version]


def is_refused(running: Running, version: str) -> bool:
    return states(running).get(version, ("", ""))[0] == "UNAVAILABLE"


def resident_bytes(running: Running) -> int:
    lines = Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
    (kilobytes,) = [line.split()[1] for line in lines if line.startswith("VmRSS")]
    return int(kilobytes) * 1024


def write_aliases(root: Path, named: dict[str, Any]) -> None:
    (root / "tiny" / "aliases.json").write_text(json.dumps(named))


def ask(running: Running, path: str = "/predict") -> httpx.Response:
    return httpx.post(f"{running.url}{path}", content=BODY, headers=HEADERS)


def test_ten_versions_published_under_load_hurt_nobody(tmp_path: Path) -> None:
    """Each answer equals that of the version it names; each version answers; the former ones leave the memory."""
    artifacts.publish(tmp_path)
    with serving(tmp_path, tmp_path, *FAST) as running:
        with loading(running.port) as load:
            load.wait_for(20)
            for version in range(2, 12):
                artifacts.publish(tmp_path)
                load.wait_for_version(version)
        wait_until(lambda: is_alone(running, "11"))
        gone = [event["version"] for event in running.events() if event["event"] == "version gone"]
        assert gone == list(range(1, 11))


BREAKS: list[tuple[Callable[[Path], None], str]] = [
    (breaking.truncate, "model.onnx: size"),
    (breaking.flip_bit, "model.onnx: sha256"),
    (breaking.half_copy, "model.onnx: file"),
    (breaking.add_label, "manifest.json: labels"),
    (breaking.half_manifest, "manifest.json: document"),
]


def publish_aside(folder: Path, version: int) -> Path:
    """A version of that number in another models folder, to be broken and then moved."""
    (folder / "tiny" / str(version - 1)).mkdir(parents=True)
    return artifacts.publish(folder)


def test_broken_versions_under_load_hurt_nobody(tmp_path: Path) -> None:
    """Refused, with the reason in the index, in the model's status and in the log; the good one answers on."""
    root = tmp_path / "models"
    artifacts.publish(root)
    with serving(root, tmp_path, *FAST) as running, loading(running.port) as load:
        for version, (broken, reason) in enumerate(BREAKS, 2):
            folder = publish_aside(tmp_path / f"aside {version}", version)
            broken(folder)
            folder.rename(root / "tiny" / str(version))
            wait_until(functools.partial(is_refused, running, str(version)))
            assert states(running)[str(version)][1].startswith(reason)
        load.wait_for(20)
        assert states(running)["1"] == ("READY", "")
        assert set(load.answered) == {1}
        status = httpx.get(f"{running.url}/v1/models/tiny").json()["model_version_status"]
        assert [one["reason"]["file"] for one in status if one["state"] == "END"][-1] == "model.onnx"
        refused = [event["version"] for event in running.events() if event["event"] == "version refused"]
        assert refused == list(range(2, 2 + len(BREAKS)))


def test_a_folder_whose_copy_is_completed_later_is_served(tmp_path: Path) -> None:
    """And a refused one is not read again and again meanwhile."""
    root = tmp_path / "models"
    artifacts.publish(root)
    whole = publish_aside(tmp_path / "aside", 2)
    with serving(root, tmp_path, *FAST) as running, loading(running.port) as load:
        target = root / "tiny" / "2"
        target.mkdir()
        shutil.copy(whole / "manifest.json", target)
        wait_until(lambda: is_refused(running, "2"))
        time.sleep(0.5)
        refused = [event for event in running.events() if event["event"] == "version refused"]
        assert len(refused) <= 2  # before and after the manifest came
        shutil.copy(whole / "model.onnx", target)
        load.wait_for_version(2)


def test_aliases_are_followed_and_keep_their_versions(tmp_path: Path) -> None:
    """In the paths of both protocols; one that names a broken version stays where it was."""
    root = tmp_path / "models"
    for _ in range(3):
        artifacts.publish(root)
    breaking.flip_bit(root / "tiny" / "2")
    write_aliases(root, {"stable": 1})
    with serving(root, tmp_path, *FAST) as running:

        def answers(alias: str) -> int:
            answer = ask(running, f"/v1/models/tiny/versions/{alias}:predict")
            return int(answer.json().get("version", 0))

        assert (answers("stable"), answers("canary"), ask(running).json()["version"]) == (1, 0, 3)
        tensor = {"name": "image", "datatype": "FP32", "shape": [1, 4, 4], "data": [0.0] * 16}
        infer = httpx.post(f"{running.url}/v2/models/tiny/versions/stable/infer", json={"inputs": [tensor]})
        assert infer.json()["model_version"] == "1"
        write_aliases(root, {"stable": 2, "canary": 3})
        wait_until(lambda: answers("canary") == 3)
        assert answers("stable") == 1
        assert httpx.get(f"{running.url}/v1/models/tiny").json()["aliases"] == {"canary": "3", "stable": "1"}
        (root / "tiny" / "aliases.json").write_text('{"stable": ')
        wait_until(lambda: any(event["event"] == "aliases refused" for event in running.events()))
        assert (answers("stable"), answers("canary")) == (1, 3)
        write_aliases(root, {"default": 1})
        wait_until(lambda: ask(running).json()["version"] == 1)
        assert answers("stable") == 0


def test_twenty_reloads_leave_no_memory_behind(tmp_path: Path) -> None:
    """The resident memory after the last is about that after the first few."""
    root = tmp_path / "models"
    artifacts.publish(root, labels=2_000)
    with serving(root, tmp_path, *FAST, "--threads", "1") as running:

        def reload(version: int) -> None:
            artifacts.publish(root, labels=2_000)
            wait_until(lambda: is_alone(running, str(version)))

        for version in range(2, 6):
            reload(version)
        before = resident_bytes(running)
        for version in range(6, 22):
            reload(version)
            shutil.rmtree(root / "tiny" / str(version - 1))
        assert resident_bytes(running) - before < 10_000_000
