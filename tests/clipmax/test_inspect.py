"""`clipmax inspect`: what the manifests say, for a version, a model or all models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clipmax import cli, manifest
from clipmax.inspect import describe, find
from clipmax.refusal import Refusal
from tests.clipmax.versions import document, publish


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two versions of digits and one of letters."""
    publish(tmp_path)
    publish(tmp_path)
    publish(tmp_path, "letters")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        ("digits/2", ["digits/2"]),
        ("digits", ["digits/1", "digits/2"]),
        ("", ["digits/1", "digits/2", "letters/1"]),
        ("letters/../digits/1", ["digits/1"]),
    ],
)
def test_a_version_a_model_and_a_folder_of_models_are_found(path: str, versions: list[str], root: Path) -> None:
    """Whichever the path is."""
    found = find(root / path)
    assert [str(entry.folder.relative_to(root)) for entry in found] == versions
    assert all(entry.manifest and not entry.refusal for entry in found)


@pytest.mark.parametrize("path", ["none", "empty", "digits/1/model.onnx"])
def test_a_path_without_version_is_refused(path: str, root: Path) -> None:
    """Rather than shown as nothing."""
    (root / "empty").mkdir()
    with pytest.raises(Refusal, match="path: expected a version, a model or a models folder"):
        find(root / path)


def test_every_fact_is_shown() -> None:
    """Names, shapes, labels, figures, data, run and files."""
    shown = describe(manifest.parse(manifest.dump(document()), where=""))
    for fact in [
        "digits, version 1",
        "2026-01-02T03:04:05+00:00",
        "kind image, dtype float32, shape 2×2, minimum 0, maximum 255",
        "logits, probabilities",
        "2: zero, one",
        "1.2500",
        "accuracy 98.00%",
        "ECE 0.40% (before 0.90%, 15 bins)",
        "train 800, validation 100, test 100",
        "3 epochs, weights of epoch 2, seed 0",
        "hidden 4",
        "torch 2.13.0",
        "model.onnx",
        "2 examples",
    ]:
        assert fact in shown


def test_many_labels_are_counted() -> None:
    """And not all printed."""
    labels = [f"label {index}" for index in range(1000)]
    golden = [{"instance": 0, "probabilities": [0.001] * 1000}]
    shown = describe(manifest.parse(manifest.dump(document(labels=labels, label_metadata={}, golden=golden)), where=""))
    assert "label 19 and 980 more" in shown
    assert "label 20" not in shown


def test_many_items_of_histories_are_counted() -> None:
    """As labels are."""
    items = [f"item {index}" for index in range(1000)]
    history = {"name": "bought", "kind": "history", "items": items, "max_length": 9, "maximum": 365.0}
    shown = describe(manifest.parse(manifest.dump(document(inputs=[history])), where=""))
    assert "items 1000: item 0, item 1" in shown
    assert "item 19 and 980 more, max_length 9" in shown


def test_what_was_calibrated_is_shown() -> None:
    """Where it was."""
    scores = {"rows": 2, "scores": [0.1, 0.2]}
    body = document(
        conformal={method: {"method": method, **scores} for method in ("plain", "adaptive")},
        abstention={"risk": 0.01, "confidence_level": 0.95, "threshold": 0.8, "coverage": 0.9, "rows": 1000},
    )
    shown = describe(manifest.parse(manifest.dump(body), where=""))
    assert "plain and adaptive scores of 2 rows" in shown
    assert "below 0.8 for a risk of 0.01 (confidence 0.95); accepted 90.00% of 1,000" in shown


def test_json_is_the_manifest_itself(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For other programs."""
    assert cli.main(["inspect", str(root / "digits" / "2"), "--json"]) == cli.DONE
    (row,) = json.loads(capsys.readouterr().out)
    assert row["refusal"] is None
    assert manifest.Manifest.model_validate_json(json.dumps(row["manifest"])) == manifest.load(root / "digits" / "2")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_broken_version_is_shown_with_its_reason(
    options: list[str], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the good ones, and the exit code says that something was refused."""
    (root / "digits" / "1" / "manifest.json").write_text("{}")
    assert cli.main(["inspect", str(root), *options]) == cli.FAILED
    shown = capsys.readouterr().out
    assert "format_version: expected 1, found None" in shown
    assert "letters" in shown


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr."""
    assert cli.main(["inspect", str(tmp_path / "none")]) == cli.FAILED
    captured: Any = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
