"""What each half loads, seen in a fresh interpreter: the linter reads imports, this sees what really happens."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest

import clipmax
import service

SHOW = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def loaded_by(*modules: str) -> set[str]:
    """Every module in an interpreter after importing these."""
    script = "\n".join([*(f"import {module}" for module in modules), SHOW])
    found = subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(found.stdout))


def modules_of(package: object) -> list[str]:
    path, name = package.__path__, package.__name__  # type: ignore[attr-defined]  # a package has both
    return [name, *(found.name for found in pkgutil.walk_packages(path, f"{name}."))]


@pytest.mark.parametrize("forbidden", ["torch", "training", "joblib", "onnx", "sklearn", "matplotlib", "pytest"])
def test_the_service_loads_nothing_of_training(forbidden: str, service_modules: set[str]) -> None:
    """With every one of its modules imported."""
    assert forbidden not in service_modules


@pytest.mark.parametrize("forbidden", ["torch", "onnxruntime", "fastapi", "training", "service", "onnx"])
def test_the_ground_floor_loads_neither_engine(forbidden: str, clipmax_modules: set[str]) -> None:
    """So that a client costs neither."""
    assert forbidden not in clipmax_modules


@pytest.fixture(scope="module")
def service_modules() -> set[str]:
    return loaded_by(*modules_of(service))


@pytest.fixture(scope="module")
def clipmax_modules() -> set[str]:
    return loaded_by(*modules_of(clipmax))
