"""Before and after, on the same rows: what changed, which way, and what of it is more than chance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from clipmax.manifest import Manifest
from clipmax.refusal import Refusal
from tests import artifacts
from tests.service.running import command
from tests.training import tiny
from training import compare
from training.compare import Comparison

ROWS = 60


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of three models without training: `tiny` of images, `table`, `text`; not to be changed."""
    root = tmp_path_factory.mktemp("compared")
    for publish in (artifacts.publish, artifacts.publish_table, artifacts.publish_text):
        publish(root)
        publish(root)
    return root


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Sixty images as an archive, labelled at random."""
    path = tmp_path / "rows.npz"
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (ROWS, *artifacts.SHAPE)).astype(np.uint8)
    np.savez(path, x=pixels, y=generator.integers(0, 3, ROWS))
    return path


def compared(models: Path, before: str, after: str, data: Path, label: str | None = None, **how: bool) -> Comparison:
    """By `name:version`."""
    old, new = (compare.find(name, models) for name in (before, after))
    return compare.compare(old, new, compare.read(data, label=label), **how)


def test_every_row_is_counted_once_and_as_the_graphs_answer_it(models: Path, images: Path) -> None:
    """Against the answers of onnxruntime itself, row by row."""
    found = compared(models, "tiny:1", "tiny:2", images)
    with np.load(images) as arrays:
        rows, labels = arrays["x"].reshape(ROWS, -1).astype(float).tolist(), arrays["y"]
    graphs = [(models / "tiny" / version / "model.onnx").read_bytes() for version in ("1", "2")]
    (old, p_old), (new, p_new) = (
        (out[0].argmax(axis=1), out[1]) for out in (artifacts.run(one, rows) for one in graphs)
    )
    was, now = old == labels, new == labels
    assert (found.accuracy.before, found.accuracy.after) == (was.mean(), now.mean())
    assert found.log_loss.before == pytest.approx(-np.log(p_old[np.arange(ROWS), labels]).mean(), rel=1e-4)
    assert found.log_loss.after == pytest.approx(-np.log(p_new[np.arange(ROWS), labels]).mean(), rel=1e-4)
    assert found.churn.right_to_wrong == (was & ~now).sum()
    assert found.churn.wrong_to_right == (~was & now).sum()
    assert found.churn.wrong_to_wrong == (~was & ~now & (old != new)).sum()
    assert found.churn.changed == (old != new).sum()
    assert sum(one.rows for one in found.classes) == ROWS
    assert sum(one.right_after - one.right_before for one in found.classes) == now.sum() - was.sum()
    assert found.accuracy.low <= found.accuracy.difference <= found.accuracy.high


def test_forwards_and_backwards_mirror_each_other(models: Path, images: Path) -> None:
    """Lost becomes won, and the test says the same."""
    one, other = compared(models, "tiny:1", "tiny:2", images), compared(models, "tiny:2", "tiny:1", images)
    assert (one.churn.right_to_wrong, one.churn.wrong_to_right) == (
        other.churn.wrong_to_right,
        other.churn.right_to_wrong,
    )
    assert one.churn.mcnemar == other.churn.mcnemar
    assert one.ece.difference == -other.ece.difference


def test_tables_and_texts_are_read_by_each_versions_own_inputs(models: Path, tmp_path: Path) -> None:
    """Numbers with their origin, gaps, words that neither knows; texts that are cut."""
    table = pl.DataFrame(
        {
            "kind": [f"label {row % 3}" for row in range(30)],
            "seen": [1_650_000_000 + 1000 * row for row in range(30)],
            "city": ["Rome", "Oslo", "Bern"] * 10,
            "age": [None if row % 7 == 0 else row for row in range(30)],
        }
    )
    table.write_csv(tmp_path / "rows.csv")
    found = compared(models, "table:1", "table:2", tmp_path / "rows.csv", "kind")
    assert (found.rows, found.data) == (30, "rows.csv")
    texts = [{"text": "banana " * (row % 4), "kind": f"label {row % 3}"} for row in range(12)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, texts)), encoding="utf-8")
    assert compared(models, "text:1", "text:2", tmp_path / "texts.jsonl", "kind").rows == 12


def test_other_labels_are_refused_unless_the_common_ones_are_asked_for(tmp_path: Path) -> None:
    """Then rows of the others are left out, and said to be; each version keeps answering with all it has."""
    artifacts.publish(tmp_path, "more", labels=5)
    artifacts.publish(tmp_path, "less", labels=3)
    words = np.array([f"label {row % 5}" for row in range(ROWS)])
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, *artifacts.SHAPE))
    np.savez(tmp_path / "words.npz", x=pixels, y=words)
    with pytest.raises(Refusal, match=r"those of less:1, or --common-labels .* 2 others: 'label 3, label 4'"):
        compared(tmp_path, "less:1", "more:1", tmp_path / "words.npz")
    found = compared(tmp_path, "less:1", "more:1", tmp_path / "words.npz", common_labels=True)
    assert (found.rows, found.left_out, found.only_before) == (36, 24, ())
    assert found.only_after == ("label 3", "label 4")
    assert [one.label for one in found.classes] == ["label 0", "label 1", "label 2"]
    assert "24 rows left out" in compare.lines(found)
    np.savez(tmp_path / "numbers.npz", x=pixels, y=np.arange(ROWS) % 3)
    with pytest.raises(Refusal, match="the versions number their labels differently"):
        compared(tmp_path, "less:1", "more:1", tmp_path / "numbers.npz", common_labels=True)


@pytest.mark.parametrize(
    ("before", "label", "message"),
    [
        ("tiny:9", None, "tiny/9/manifest.json: file: expected a readable manifest"),
        ("text:1", None, "expected a table with the column 'text', found arrays"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    before: str, label: str | None, message: str, models: Path, images: Path
) -> None:
    """A version that is not there; data of another kind."""
    with pytest.raises(Refusal, match=message):
        compared(models, before, before, images, label)


def test_the_command_tells_a_person_and_a_program(artifact: Path, manifest: Manifest, tmp_path: Path) -> None:
    """A version against itself on the test split of its own run: nothing changed, and the manifest's figures."""
    run = tiny.write(tmp_path)
    words = command("compare", str(artifact), "tiny:1", "--models", str(artifact.parents[1]), "--data", str(run))
    assert words.returncode == 0, words.stderr
    assert "tiny:1 → tiny:1 on 200 rows of run.toml" in words.stdout
    assert "0 answers changed" in words.stdout
    found = command("compare", str(artifact), str(artifact), "--data", str(run), "--json")
    figures = Comparison.model_validate_json(found.stdout)
    assert manifest.metrics
    assert figures.accuracy.before == manifest.metrics.accuracy
    assert figures.ece.after == pytest.approx(manifest.metrics.ece)
    assert figures.macro_f1.after == pytest.approx(manifest.metrics.macro_f1)
    assert (figures.churn.changed, figures.churn.mcnemar) == (0, 1.0)
