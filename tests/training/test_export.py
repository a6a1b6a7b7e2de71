"""The artifact as the contract has it, and what is refused before anything becomes visible."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor

from clipmax.inputs import tensors
from clipmax.manifest import MANIFEST_FILE, MODEL_FILE, Golden, Manifest
from clipmax.refusal import Refusal
from clipmax.repository import Repository, verify_files
from tests.training import tiny
from training import export, loop, onnx_file, parity, run
from training.config import Run
from training.data.dataset import Dataset
from training.loop import Progress
from training.model import Calibrated

Trained = tuple[Run, Dataset, Progress]


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def _altered(graph: bytes, change: Callable[[tiny.Array], tiny.Array], *, like: str) -> bytes:
    """The graph with one initializer changed."""
    model = onnx.load_from_string(graph)
    (found,) = (each for each in model.graph.initializer if each.name.endswith(like))
    found.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(found).copy()), found.name))
    content: bytes = model.SerializeToString()
    return content


def test_a_version_is_one_graph_with_its_manifest(artifact: Path, manifest: Manifest) -> None:
    """Every file is listed with its hash; nothing temporary is left beside it."""
    assert {path.name for path in artifact.iterdir()} == {MANIFEST_FILE, *manifest.files}
    assert MODEL_FILE in manifest.files
    verify_files(artifact, manifest)
    assert Repository(artifact.parents[1]).versions("tiny") == [1]
    assert {path.name for path in artifact.parent.iterdir()} <= {"1", ".lock"}


def test_the_manifest_says_what_was_trained(manifest: Manifest, trained: Trained) -> None:
    """Data, configuration, epoch and figures are those of the run."""
    settings, dataset, progress = trained
    assert (manifest.name, manifest.version, manifest.labels) == ("tiny", 1, dataset.labels)
    assert manifest.data
    assert manifest.training
    assert manifest.metrics
    assert manifest.data.fingerprint == dataset.fingerprint()
    assert manifest.data.files == dataset.files
    assert manifest.data.rows == {"train": 480, "validation": 120, "test": 200}
    assert (manifest.training.seed, manifest.training.epochs) == (3, 6)
    assert manifest.training.best_epoch == progress.best_epoch
    assert manifest.training.configuration["optimizer"] == settings.optimizer.model_dump(mode="json")
    assert manifest.metrics.rows == tiny.TEST_ROWS
    assert manifest.metrics.accuracy > 0.5


def test_nothing_of_this_machine_is_in_the_artifact(artifact: Path) -> None:
    """Neither its folders nor stack traces: the exporter writes both into every node."""
    for path in artifact.iterdir():
        content = path.read_bytes()
        for trace in (str(Path(__file__).parents[2]), str(artifact.parents[2]), "stack_trace", 'File "'):
            assert trace.encode() not in content, (path.name, trace)


def test_the_graph_is_standard_and_in_one_piece(graph: bytes) -> None:
    """The standard domain only, no functions, no data elsewhere."""
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert {(each.domain, each.version) for each in model.opset_import} == {("", onnx_file.OPSET)}
    assert not model.functions
    assert all(each.data_location == onnx.TensorProto.DEFAULT for each in model.graph.initializer)
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["logits", "probabilities", "novelty"]


@pytest.mark.parametrize("rows", [1, 2, 7, 256])
def test_onnxruntime_and_torch_agree_on_any_batch(
    rows: int, graph: bytes, calibrated: Calibrated, trained: Trained
) -> None:
    """Weights trained again from the same seed in another process, so the two are bit-equal as well."""
    images = np.resize(trained[1].test.columns["image"], (rows, 8, 8))
    logits, probabilities = _session(graph).run(["logits", "probabilities"], {"image": images.astype(np.float32)})
    with torch.no_grad():
        expected_logits, expected = calibrated(torch.from_numpy(images))
    assert probabilities.shape == (rows, 10)
    assert np.abs(probabilities - expected.numpy()).max() <= 1e-5
    assert np.allclose(logits, expected_logits.numpy(), atol=1e-4)
    assert np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_the_graphs_weights_are_the_best_epochs(graph: bytes, trained: Trained) -> None:
    """Bit for bit what this process trained from the same seed."""
    weights = {each.name: numpy_helper.to_array(each) for each in onnx.load_from_string(graph).graph.initializer}
    found = {name: value for name, value in weights.items() if ".mlp." in name or name.startswith("mlp.")}
    best = {name: value for name, value in trained[2].best_weights.items() if name.startswith("mlp.")}
    assert len(found) == len(best) == 6
    for name, value in best.items():
        (exported,) = (each for other, each in found.items() if other.endswith(name))
        assert np.array_equal(exported, value.numpy()) or np.array_equal(exported, value.numpy().T)


def test_golden_examples_replay(graph: bytes, manifest: Manifest) -> None:
    """Sent as a client would send them, they give what training computed."""
    columns = tensors(manifest.inputs, [example.instance for example in manifest.golden])
    (found,) = _session(graph).run(["probabilities"], columns)
    expected = np.array([example.probabilities for example in manifest.golden if isinstance(example, Golden)])
    assert np.abs(found - expected).max() <= 1e-5
    assert len(manifest.golden) >= len(manifest.labels)


@pytest.mark.parametrize(("classes", "batches"), [(2, [1, 7, 256]), (100_000, [1, 7, 256]), (1_000_000, [1, 7, 33])])
def test_parity_of_very_many_classes_is_checked_on_fewer_rows(classes: int, batches: list[int]) -> None:
    """All logits of 256 rows of a million classes would take 5 GB."""
    assert parity.batches(classes) == batches


def test_parity_holds_for_the_graph_that_was_exported(graph: bytes, calibrated: Calibrated, trained: Trained) -> None:
    """On test rows, black, white, noise and far beyond."""
    assert export.check_parity(graph, calibrated, trained[1]) <= parity.TOLERANCE


@pytest.mark.parametrize(
    ("change", "like"),
    [
        (lambda bias: bias + np.eye(1, len(bias), dtype=bias.dtype)[0], "mlp.6.bias"),
        (lambda bias: bias[::-1].copy(), "mlp.6.bias"),
        (lambda bias: bias * np.float32(np.nan), "mlp.6.bias"),
        (lambda mean: mean + np.float32(1.0), "mean"),
        (lambda temperature: temperature * np.float32(1.01), "temperature"),
    ],
    ids=["one bias", "classes reversed", "NaN", "mean", "temperature"],
)
def test_another_graph_does_not_pass_the_parity_gate(
    change: Callable[[tiny.Array], tiny.Array], like: str, graph: bytes, calibrated: Calibrated, trained: Trained
) -> None:
    """One number changed anywhere is enough."""
    with pytest.raises(Refusal, match=r"model.onnx: parity on "):
        export.check_parity(_altered(graph, change, like=like), calibrated, trained[1])


def test_nan_on_torchs_side_does_not_pass_either(graph: bytes, trained: Trained) -> None:
    """Comparing with NaN is never true, so the comparison is written the other way round."""
    _, dataset, progress = trained
    reference = Calibrated(progress.model, float("nan")).eval()
    with pytest.raises(Refusal, match="parity on"):
        export.check_parity(graph, reference, dataset)


def test_a_weight_that_is_not_finite_is_never_exported(trained: Trained, tmp_path: Path) -> None:
    """Refused by its name before anything is written."""
    settings, dataset, progress = trained
    finished = export.Finished(
        run=settings.model_copy(update={"models": tmp_path}),
        dataset=dataset,
        fingerprint=dataset.fingerprint(),
        progress=progress,
        model=Calibrated(progress.model, float("inf")),
    )
    with pytest.raises(Refusal, match="export: temperature: expected finite weights"):
        export.publish(finished)
    assert not list(tmp_path.iterdir())


def test_a_graph_with_foreign_operators_is_refused(graph: bytes) -> None:
    """Not every runtime would know them."""
    model = onnx.load_from_string(graph)
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    model.graph.node[-1].domain = "com.microsoft"
    with pytest.raises((Refusal, onnx.checker.ValidationError)):
        onnx_file.check(model.SerializeToString())


def test_the_configuration_in_the_manifest_names_no_folder(artifact: Path) -> None:
    """Data files by name, output folders not at all: the artifact travels."""
    configuration = json.loads((artifact / MANIFEST_FILE).read_text())["training"]["configuration"]
    assert configuration["data"]["train_images"] == "train-images"
    assert {"models", "runs"}.isdisjoint(configuration)


def test_test_rows_decide_nothing(trained: Trained) -> None:
    """Trained with the test rows' labels shuffled, the weights are the same: test is looked at once, at the end."""
    settings, dataset, progress = trained
    shuffled = replace(dataset, test=replace(dataset.test, labels=dataset.test.labels[::-1].copy()))
    again = run.start(settings, shuffled)
    loop.fit(again, settings, shuffled)
    pairs: list[tuple[Tensor, Tensor]] = [
        (again.best_weights[name], progress.best_weights[name]) for name in again.best_weights
    ]
    assert all(torch.equal(one, other) for one, other in pairs)
