"""constraints.txt and requirements.txt, as `make lock` leaves them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s\\]+)", re.MULTILINE)


def pins(file: str) -> dict[str, str]:
    """Normalized name → version."""
    return {_normal(name): version for name, version in _PIN.findall((ROOT / file).read_text())}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_service_s_requirements_are_those_of_the_project_each_with_a_hash() -> None:
    """Otherwise the image would lack a package, or take a file that nobody has looked at."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = {_normal(re.split(r"[\[<>=~! ]", one)[0]) for one in dependencies}
    assert needed <= set(pins("requirements.txt"))
    for entry in re.split(r"\n(?=\S)", (ROOT / "requirements.txt").read_text().strip())[1:]:
        assert "--hash=sha256:" in entry, entry


def test_the_image_runs_the_versions_that_were_tested() -> None:
    """One version of a package in both files."""
    constraints = pins("constraints.txt")
    for name, version in pins("requirements.txt").items():
        assert constraints[name] == version
