"""Which versions serve, and what a broken one costs the others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clipmax.problems import Problem
from clipmax.refusal import Refusal
from service.engine.catalog import Catalog, State
from service.engine.policy import Policy
from service.engine.providers import Execution
from tests import artifacts
from tests.service.engine import breaking

Break = Callable[[Path], None]
BROKEN: list[tuple[Break, str, str]] = [
    (breaking.flip_bit, "model.onnx", "sha256"),
    (breaking.truncate, "model.onnx", "size"),
    (breaking.add_label, "manifest.json", "labels"),
    (breaking.drop_golden, "manifest.json", "golden"),
    (breaking.half_copy, "model.onnx", "file"),
    (breaking.half_manifest, "manifest.json", "document"),
    (breaking.no_manifest, "manifest.json", "file"),
    (breaking.deep_manifest, "", ""),
]


def opened(root: Path, default_model: str | None = None) -> Catalog:
    catalog = Catalog(root, Execution(), default_model=default_model, policy=Policy.parse("all"))
    catalog.open()
    return catalog


def test_all_valid_versions_serve_and_the_newest_by_the_bare_name(tmp_path: Path) -> None:
    """Each is found under its number."""
    for _ in range(3):
        artifacts.publish(tmp_path)
    catalog = opened(tmp_path)
    assert catalog.serving_versions("tiny") == [1, 2, 3]
    assert catalog.find("tiny").manifest.version == 3
    assert catalog.find_default().manifest.version == 3
    assert catalog.find("tiny", 1).manifest.version == 1
    assert catalog.is_ready
    assert not catalog.is_degraded


@pytest.mark.parametrize(("broken", "file", "field"), BROKEN, ids=[row[0].__name__ for row in BROKEN])
def test_a_broken_newest_version_is_refused_and_the_good_one_serves(
    tmp_path: Path, broken: Break, file: str, field: str
) -> None:
    """The reason names file, field, expected and found."""
    artifacts.publish(tmp_path)
    broken(artifacts.publish(tmp_path))
    catalog = opened(tmp_path)
    assert catalog.find("tiny").manifest.version == 1
    good, bad = catalog.versions("tiny")
    assert (good.state, bad.state) == (State.SERVING, State.REFUSED)
    assert bad.reason is not None
    assert bad.reason.where.endswith(file)
    assert field in bad.reason.field
    assert bad.reason.expected
    assert bad.reason.found
    with pytest.raises(Problem, match="MODEL_NOT_FOUND"):
        catalog.find("tiny", 2)


def test_nothing_to_serve_is_refused_with_every_reason(tmp_path: Path) -> None:
    """An empty folder, a missing one, and one with only broken versions."""
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(Refusal, match="at least one version to serve, found none"):
            opened(root)
    breaking.flip_bit(artifacts.publish(tmp_path))
    breaking.drop_golden(artifacts.publish(tmp_path))
    with pytest.raises(Refusal, match=r"sha256.*; .*golden"):
        opened(tmp_path)


def test_the_default_model_is_the_only_one_or_the_chosen_one(tmp_path: Path) -> None:
    """With several and no choice there is none, and an unknown choice is refused."""
    artifacts.publish(tmp_path, "first")
    assert opened(tmp_path).default_model == "first"
    artifacts.publish(tmp_path, "second")
    assert opened(tmp_path, "second").find_default().manifest.name == "second"
    with pytest.raises(Problem, match="several models"):
        opened(tmp_path).find_default()
    with pytest.raises(Refusal, match="CLIPMAX_DEFAULT_MODEL: expected one of first, second, found third"):
        opened(tmp_path, "third")


def test_what_is_not_a_version_does_not_exist(tmp_path: Path) -> None:
    """Temporary folders, files and names of other kinds are not looked into."""
    artifacts.publish(tmp_path)
    for name in ("tiny/.publishing-2-abcd", "tiny/02", "tiny/latest", ".git/1", "a b/1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tiny" / "7").write_text("a file")
    catalog = opened(tmp_path)
    assert [version.number for version in catalog.versions("tiny")] == [1]
    assert catalog.served_names() == ["tiny"]
    with pytest.raises(Problem, match="MODEL_NOT_FOUND"):
        catalog.versions("other")


def test_opening_twice_loads_once(tmp_path: Path) -> None:
    """The command opens it early to see a refusal, the lifespan opens it for everybody else."""
    artifacts.publish(tmp_path)
    catalog = opened(tmp_path)
    session = catalog.find("tiny")
    artifacts.publish(tmp_path)
    catalog.open()
    assert catalog.find("tiny") is session


def following(root: Path, policy: str = "latest") -> Catalog:
    catalog = Catalog(root, Execution(), policy=Policy.parse(policy))
    catalog.open()
    return catalog


def states(catalog: Catalog) -> list[tuple[int, State]]:
    return [(version.number, version.state) for version in catalog.versions("tiny")]


def test_the_policy_says_what_serves(tmp_path: Path) -> None:
    """A version that is not wanted is not even loaded; a refused one does not count."""
    for _ in range(4):
        artifacts.publish(tmp_path)
    breaking.flip_bit(tmp_path / "tiny" / "4")
    for policy, serving in (("latest", [3]), ("latest:2", [2, 3]), ("all", [1, 2, 3]), ("tiny=1+4", [1])):
        assert following(tmp_path, policy).serving_versions("tiny") == serving


def test_a_new_version_takes_over_and_the_old_one_drains_until_nobody_uses_it(tmp_path: Path) -> None:
    """Whoever has found the old session keeps it; then it is gone, and its memory with it."""
    artifacts.publish(tmp_path)
    catalog = following(tmp_path)
    changes: list[list[tuple[int, State]]] = []
    catalog.on_change = lambda: changes.append(states(catalog))
    in_flight = catalog.find("tiny")
    artifacts.publish(tmp_path)
    catalog.refresh()
    assert changes[0] == [(1, State.SERVING), (2, State.LOADING)]
    assert changes[-1] == states(catalog) == [(2, State.SERVING), (1, State.DRAINING)]
    assert catalog.find("tiny").manifest.version == 2
    assert in_flight.manifest.version == 1
    catalog.refresh()
    assert states(catalog) == [(2, State.SERVING), (1, State.DRAINING)]
    del in_flight
    catalog.refresh()
    assert states(catalog) == [(2, State.SERVING)]
    count = len(changes)
    catalog.refresh()
    assert len(changes) == count


def test_a_version_whose_folder_is_gone_drains_and_the_one_before_it_serves(tmp_path: Path) -> None:
    """That is how to go back."""
    for _ in range(2):
        artifacts.publish(tmp_path)
    artifacts.publish(tmp_path, "other")
    catalog = following(tmp_path)
    shutil.rmtree(tmp_path / "tiny" / "2")
    catalog.refresh()
    assert catalog.find("tiny").manifest.version == 1
    shutil.rmtree(tmp_path / "tiny")
    catalog.refresh()
    assert catalog.served_names() == ["other"]


def test_a_models_folder_that_gives_nothing_changes_nothing(tmp_path: Path) -> None:
    """A volume that is not there at present must not end the service."""
    root, away = tmp_path / "models", tmp_path / "away"
    artifacts.publish(root)
    catalog = following(root)
    root.rename(away)
    catalog.refresh()
    root.mkdir()
    catalog.refresh()
    assert catalog.serving_versions("tiny") == [1]


def test_a_refused_version_is_tried_again_only_when_its_folder_has_changed_and_come_to_rest(tmp_path: Path) -> None:
    """The same reason stays until then, and the good version serves throughout."""
    artifacts.publish(tmp_path)
    folder = artifacts.publish(tmp_path)
    model = (folder / "model.onnx").read_bytes()
    breaking.truncate(folder)
    catalog = following(tmp_path)
    reason = catalog.versions("tiny")[1].reason
    catalog.refresh()
    assert catalog.versions("tiny")[1].reason is reason
    assert reason is not None
    assert reason.__traceback__ is None
    (folder / "model.onnx").write_bytes(model)
    catalog.refresh()
    assert states(catalog) == [(1, State.SERVING), (2, State.REFUSED)]
    catalog.refresh()
    catalog.refresh()
    assert states(catalog) == [(2, State.SERVING)]


def test_a_serving_version_that_is_overwritten_goes_on_unless_something_good_lies_there(tmp_path: Path) -> None:
    """Broken: the old one serves, with the reason beside it. Another good one: it takes over."""
    folder = artifacts.publish(tmp_path)
    catalog = following(tmp_path)
    session = catalog.find("tiny")
    breaking.flip_bit(folder)
    catalog.refresh()
    catalog.refresh()
    (version,) = catalog.versions("tiny")
    assert (version.state, version.session) == (State.SERVING, session)
    assert version.reason is not None
    shutil.rmtree(folder)
    artifacts.publish(tmp_path, labels=5)
    catalog.refresh()
    catalog.refresh()
    assert len(catalog.find("tiny", 1).manifest.labels) == 5


def test_an_alias_keeps_its_version_without_taking_the_bare_name(tmp_path: Path) -> None:
    """A canary is the newest version with the rule pinned to the one before."""
    for _ in range(2):
        artifacts.publish(tmp_path)
    (tmp_path / "tiny" / "aliases.json").write_text('{"canary": 2}')
    catalog = following(tmp_path, "tiny=1")
    assert catalog.find("tiny").manifest.version == 1
    assert catalog.find("tiny", "canary").manifest.version == 2
    assert catalog.addresses("tiny") == [1, 2, "canary"]
    (tmp_path / "tiny" / "aliases.json").unlink()
    catalog.refresh()
    assert catalog.serving_versions("tiny") == [1]
