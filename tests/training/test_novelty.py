"""Scores of how unlike the training rows an input is: fitted after training, exported with the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from clipmax.inputs import TextInput, code_points
from clipmax.manifest import Manifest
from clipmax.refusal import Refusal
from tests.training import tiny
from training import answers, config, export, novelty, probes
from training.config import Run
from training.data.dataset import Dataset
from training.features.text.encoder import TextEncoder
from training.loop import Progress
from training.model import Calibrated
from training.novelty import NAMES, OFF, SCORES, Sample, View

Trained = tuple[Run, Dataset, Progress]
OF_ANY_INPUT = sorted(set(SCORES) - {"unseen"})


def _view(rows: int, *, seed: int = 0, unseen: float = 0.0) -> View:
    torch.manual_seed(seed)
    probabilities = torch.softmax(torch.randn(rows, 3), dim=1)
    return View(torch.rand(rows, 5), torch.rand(rows, 4), probabilities, torch.full((rows,), unseen))


def _sample(*, reads_text: bool = False) -> Sample:
    return Sample(
        train=_view(60), labels=torch.arange(60) % 3, held_out=_view(40, seed=1, unseen=0.1), reads_text=reads_text
    )


@pytest.mark.parametrize("name", sorted(SCORES))
def test_a_score_is_one_finite_number_a_row(name: str) -> None:
    """At least 0, also for rows of zeros and of large numbers; a row's own, whatever stands beside it."""
    score = SCORES[name](_sample(reads_text=True))
    view = _view(30, seed=2, unseen=0.5)
    view.features[0], view.hidden[0] = 0.0, 0.0
    view.features[1], view.hidden[1] = 1e15, -1e15
    found = score(view)
    assert found.shape == (30,)
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    alone = score(View(view.features[:1], view.hidden[:1], view.probabilities[:1], view.unseen[:1]))
    assert torch.allclose(alone, found[:1], atol=1e-6)


@pytest.mark.parametrize("name", ["hidden", "features"])
def test_rows_of_the_training_split_are_nearer_than_others(name: str) -> None:
    """Their opposites are as far as rows can be."""
    sample = _sample()
    score, own = SCORES[name](sample), sample.train
    away = View(-own.features, -own.hidden, own.probabilities, own.unseen)
    assert score(own).max() < 0.5
    assert score(away).min() > 1.0


def test_together_lies_between_its_parts() -> None:
    """It is their weighted mean, and a text with more unseen n-grams is more novel."""
    sample = _sample(reads_text=True)
    together, view = SCORES["together"](sample), _view(20, seed=3, unseen=0.2)
    parts = torch.stack([SCORES[name](sample)(view) for name in ("probability", "hidden", "unseen")])
    assert (together(view) <= parts.amax(dim=0) + 1e-6).all()
    assert (together(view) >= parts.amin(dim=0) - 1e-6).all()
    assert (together(_view(20, seed=3, unseen=0.9)) > together(view)).all()


def test_unseen_is_the_share_of_ngrams_that_no_training_text_has() -> None:
    """However long the padding; a text without any n-gram has none unseen."""
    schema = TextInput(name="text", max_length=64)
    texts = ["where is my card", "where is my card now", "my card is lost"] * 3
    encoder = TextEncoder.fit(schema, texts, 2, config.Texts())
    found = encoder.unseen(torch.from_numpy(code_points(["where is my card", "my card zzz", "ξξξ", "", " "], 64)))
    assert found[0] == 0
    assert 0 < found[1] < 1
    assert found[2] == 1
    assert found[3:].tolist() == [0, 0]
    alone = encoder.unseen(torch.from_numpy(code_points(["my card zzz"], 64)))
    assert torch.equal(alone, found[1:2])


@pytest.mark.parametrize("name", OF_ANY_INPUT)
def test_a_score_changes_no_answer(trained: Trained, calibrated: Calibrated, name: str) -> None:
    """Logits and probabilities are the same bits; the score is finite on whatever can be sent."""
    _, dataset, _ = trained
    scored = novelty.attached(calibrated, dataset, name)
    for _, columns in probes.columns(dataset, 7):
        tensors = [torch.from_numpy(columns[schema.name]) for schema in dataset.inputs]
        with torch.no_grad():
            logits, probabilities = calibrated(*tensors)
            *same, found = scored(*tensors)
        assert torch.equal(same[0], logits)
        assert torch.equal(same[1], probabilities)
        assert torch.isfinite(found).all()


def test_noise_is_more_novel_than_test_rows(graph: bytes, manifest: Manifest, trained: Trained) -> None:
    """By the graph, whose shape of a score is one number a row."""
    _, dataset, _ = trained
    session = answers.session(graph)
    assert manifest.outputs == ("logits", "probabilities", "novelty")
    assert [output.shape for output in session.get_outputs()][2] == ["batch"]
    by_name = {name: session.run(["novelty"], columns)[0] for name, columns in probes.columns(dataset, 64)}
    assert by_name["noise"].mean() > by_name["test rows"].mean()


def test_off_leaves_the_graph_as_it_was(trained: Trained, calibrated: Calibrated) -> None:
    """Two outputs, and nothing in the manifest."""
    _, dataset, _ = trained
    plain = novelty.attached(calibrated, dataset, OFF)
    model = onnx.load_from_string(export.to_onnx(plain, dataset).content())
    assert [value.name for value in model.graph.output] == ["logits", "probabilities"]
    assert answers.answer(answers.session(model.SerializeToString()), dataset.inputs, dataset.test).novelty is None


def test_a_graph_of_another_novelty_is_refused(graph: bytes, trained: Trained, calibrated: Calibrated) -> None:
    """The parity gate looks at it too."""
    settings, dataset, _ = trained
    scored = novelty.attached(calibrated, dataset, settings.novelty.score)
    export.check_parity(graph, scored, dataset)
    model = onnx.load_from_string(graph)
    (weights,) = (each for each in model.graph.initializer if each.name.endswith("score.weights"))
    weights.CopyFrom(numpy_helper.from_array(1.01 * numpy_helper.to_array(weights), weights.name))
    with pytest.raises(Refusal, match="novelty"):
        export.check_parity(model.SerializeToString(), scored, dataset)


def test_unseen_needs_a_text(trained: Trained) -> None:
    """Said before any training."""
    _, dataset, _ = trained
    with pytest.raises(Refusal, match=r"novelty\.score"):
        novelty.check(config.Novelty(score="unseen"), dataset)
    for name in {*NAMES} - {"unseen"}:
        novelty.check(config.Novelty(score=name), dataset)


def test_a_score_is_one_of_the_table(tmp_path: Path) -> None:
    """The names are in the message."""
    with pytest.raises(Refusal, match="together"):
        tiny.read(tmp_path, "novelty.score=nearest")


def test_every_class_is_in_the_sample_and_no_class_fills_it(trained: Trained, calibrated: Calibrated) -> None:
    """Rows are evenly spaced within a class."""
    _, dataset, _ = trained
    sample = novelty.sample(calibrated, dataset)
    counts = np.bincount(sample.labels.numpy(), minlength=len(dataset.labels))
    assert (counts == np.minimum(500, np.bincount(dataset.train.labels))).all()
    assert len(sample.held_out.unseen) == len(dataset.selection)
