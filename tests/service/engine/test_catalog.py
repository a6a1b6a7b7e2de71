"""Which versions serve, and what a broken one costs the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clipmax.problems import Problem
from clipmax.refusal import Refusal
from service.engine.catalog import Catalog, State
from service.engine.policy import Policy
from service.engine.session import Execution
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
