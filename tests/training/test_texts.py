"""The text examples on their samples: from files to the exported graph; a text beside numbers and words in training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch

from clipmax import manifest
from clipmax.inputs import Tensor, code_points
from clipmax.manifest import MODEL_FILE
from tests.training import tables, tiny
from training import answers, checkpoint, defaults, loop, run, run_file, runtime
from training.config import Run
from training.data import sources
from training.data.dataset import Dataset
from training.features import encoders
from training.features.text.encoder import TextEncoder
from training.loop import Progress
from training.model import Calibrated
from training.outcome import Outcome

EXAMPLES = Path(__file__).parents[2] / "examples"
FLOORS = {"banking77": 0.75, "csl_category": 0.45}
"""Accuracy on the sample's test rows that a run without a mistake is above; chance is 0.01 and 0.08."""
ADVERSARIAL = (
    "",
    " ",
    "\0",
    "\u200b\u200d",
    "\ud800",
    "\U0001f600\U0001f469\u200d\U0001f680",
    "工学 card",
    "x" * 1024,
    "y" * 100_000,
    "card " * 200,
    "e\u0301\u0301",
)
MIXED = """
name = "mixed"
threads = 1

[data]
source = "table"
train = "train.csv"
test = "test.csv"
label = "label"
texts = ["text"]
numbers = ["amount"]
categories = ["region"]
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has published, and the module that it exported."""

    name: str
    dataset: Dataset
    progress: Progress
    outcome: Outcome
    model: Calibrated
    session: onnxruntime.InferenceSession


def _read(name: str, folder: Path, *overrides: str) -> Run:
    if name == "mixed":
        tables.write(folder / "train.csv", rows=400, seed=0)
        tables.write(folder / "test.csv", rows=90, seed=1)
        path = folder / "run.toml"
        path.write_text(MIXED, encoding="utf-8")
    else:
        path = EXAMPLES / name / f"{name}.toml"
    return run_file.read(path, [*tiny.places(folder), "threads=1", *overrides])


def _start(settings: Run) -> tuple[Run, Dataset, Progress]:
    runtime.prepare(settings.threads)
    dataset = sources.read(settings.data, text_length=settings.texts.max_length)
    settings = defaults.fill(settings, dataset)
    progress = run.start(settings, dataset)
    return settings, encoders.prepare(progress.model.placed, dataset), progress


@pytest.fixture(scope="module", params=list(FLOORS))
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run of each, as `run.train` does it."""
    name = request.param
    settings, dataset, progress = _start(_read(name, tmp_path_factory.mktemp(name)))
    loop.fit(progress, settings, dataset)
    outcome = run.finish(settings, dataset, dataset.fingerprint(), progress)
    model = Calibrated(progress.model, outcome.temperature).eval()
    session = answers.session((outcome.folder / MODEL_FILE).read_bytes())
    return Finished(name, dataset, progress, outcome, model, session)


def _feeds(texts: list[str]) -> dict[str, Tensor]:
    return {"text": code_points(texts, 1024)}


def _onnx(finished: Finished, feeds: dict[str, Tensor]) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = finished.session.run(["probabilities"], feeds)[0]
    return found


def _torch(finished: Finished, feeds: dict[str, Tensor]) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        found: npt.NDArray[np.float32] = finished.model(torch.from_numpy(feeds["text"].copy()))[1].numpy()
    return found


def _test_texts(finished: Finished) -> list[str]:
    texts: list[Any] = finished.dataset.test.columns["text"].tolist()
    return texts


def test_it_learns(finished: Finished) -> None:
    """Far better than chance on the sample's own test rows."""
    assert finished.outcome.metrics.accuracy > FLOORS[finished.name]


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_onnxruntime_and_torch_agree(finished: Finished, batch: int) -> None:
    """To 1e-5 on probabilities, adversarial texts in every batch; all are finite and sum to 1."""
    texts = (list(ADVERSARIAL) + _test_texts(finished) * 3)[: max(batch, len(ADVERSARIAL))]
    for start in range(0, len(texts), batch):
        feeds = _feeds(texts[start : start + batch])
        found = _onnx(finished, feeds)
        assert np.isfinite(found).all()
        assert (found >= 0).all()
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
        np.testing.assert_allclose(found, _torch(finished, feeds), atol=1e-5, rtol=0)


def test_a_row_answers_the_same_alone_and_in_any_company(finished: Finished) -> None:
    """Padded beside longer texts, in another order: within 1e-6."""
    texts = [*ADVERSARIAL[:8], *_test_texts(finished)[:8]]
    feeds = _feeds(texts)
    together = _onnx(finished, feeds)
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = _onnx(finished, {name: column[order] for name, column in feeds.items()})
    np.testing.assert_allclose(shuffled, together[order], atol=1e-6, rtol=0)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(_onnx(finished, _feeds([text]))[0], together[row], atol=1e-6, rtol=0)


def test_saying_it_again_does_not_raise_the_confidence(finished: Finished) -> None:
    """200 times as sure as three times."""
    word = _test_texts(finished)[0] + " "
    thrice, often = (_onnx(finished, _feeds([word * times])) for times in (3, 12))
    np.testing.assert_allclose(thrice, often, atol=1e-5, rtol=0)


def test_the_artifact_has_the_schema_of_its_columns(finished: Finished) -> None:
    """Enough for a client: names, kinds, the length that is read."""
    document = manifest.load(finished.outcome.folder)
    assert [schema.name for schema in document.inputs] == [schema.name for schema in finished.dataset.inputs]
    (text,) = (schema for schema in document.inputs if schema.kind == "text")
    assert text.max_length == 1024


def test_the_vocabulary_knows_the_training_split_only(tmp_path: Path) -> None:
    """A word that stands in every validation and test row, and in no training row, is unknown."""
    settings, dataset, progress = _start(_read("mixed", tmp_path))
    (encoder,) = (each for each in progress.model.encoders if isinstance(each, TextEncoder))
    for split in (dataset.validation, dataset.test):
        split.columns["text"][:] = "ʘǂǃ"
    again = run.start(settings, dataset).model.encoders
    (other,) = (each for each in again if isinstance(each, TextEncoder))
    assert np.array_equal(encoder.vocabulary.rows_of, other.vocabulary.rows_of)
    assert np.array_equal(encoder.vocabulary.weights, other.vocabulary.weights)


def _train(folder: Path, *overrides: str) -> dict[str, torch.Tensor]:
    settings, dataset, progress = _start(_read("mixed", folder, "fit.epochs=2", *overrides))
    loop.fit(progress, settings, dataset)
    return progress.model.state_dict()


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    """Of every table and weight; another seed gives others."""
    first, again = _train(tmp_path), _train(tmp_path)
    other = _train(tmp_path, "seed=1")
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["encoders.0.deep"], other["encoders.0.deep"])


@pytest.mark.parametrize("rule", ["none", "value", "norm", "layer", "agc", "autoclip", "zclip"])
def test_every_clipping_rule_takes_sparse_gradients(tmp_path: Path, rule: str) -> None:
    """The table's gradient is sparse, and its norm counts with the others'."""
    settings, dataset, progress = _start(_read("mixed", tmp_path, "fit.epochs=1", f"clipping.rule={rule}"))
    loop.fit(progress, settings, dataset)
    assert progress.epochs[0].grad_norm_max > 0
    (encoder,) = (each for each in progress.model.encoders if isinstance(each, TextEncoder))
    assert encoder.deep.grad is not None
    assert encoder.deep.grad.is_sparse


def test_the_financial_example_trains_on_files_of_its_form(tmp_path: Path) -> None:
    """Its tweets are not in the repository: two columns, text and label, in the two files that its README names."""
    for name, rows in (("sent_train.csv", 300), ("sent_valid.csv", 60)):
        tables.write(tmp_path / name, rows=rows, seed=rows)
    files = [f"data.train={tmp_path / 'sent_train.csv'}", f"data.test={tmp_path / 'sent_valid.csv'}"]
    settings, dataset, progress = _start(_read("financial_sentiment", tmp_path, *files, "data.texts=['text']"))
    loop.fit(progress, settings, dataset)
    assert progress.epochs[-1].validation_accuracy > 0.9


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Tables, their optimizers' states and the dropped n-grams included."""
    settings, dataset, whole = _start(_read("mixed", tmp_path, "fit.epochs=2"))
    folder = tmp_path / "checkpoints"

    def save(progress: Progress) -> None:
        if len(progress.epochs) == 1:
            checkpoint.save(folder, progress, settings, "data")

    loop.fit(whole, settings, dataset, on_epoch=save)
    resumed = run.start(settings, dataset)
    assert checkpoint.load_newest(folder, resumed, settings, "data") == 1
    loop.fit(resumed, settings, dataset)
    found = resumed.model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in whole.model.state_dict().items())
