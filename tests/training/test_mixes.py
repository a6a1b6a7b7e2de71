"""Rows, and rows beside images and texts, in one model: trained, exported, and asked through onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch

from clipmax import inputs as client_inputs
from clipmax import manifest as manifest_module
from clipmax.inputs import CategoryInput, ImageInput, NumberInput, TextInput
from clipmax.manifest import Golden
from tests.training import rows
from training import checkpoint, config, defaults, loop, probes, run, run_file, runtime
from training.data import sources
from training.data.dataset import Column, Dataset, Split
from training.features import encoders
from training.loop import Progress

INPUTS = (
    NumberInput(name="年龄 / age", minimum=-3.0, maximum=5.0),
    TextInput(name="note", max_length=60),
    ImageInput(name="picture", shape=(5, 4)),
    CategoryInput(name="relu", categories=("a", "b", "é")),
)
WORDS = (("yes", "好"), ("no", "不"), ("maybe", "也许"))


def _split(count: int, seed: int) -> Split:
    """Each input tells a little of the label."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    age = (labels + random.normal(size=count)).astype(np.float32)
    age[random.random(count) < 0.2] = np.nan
    pictures = random.integers(0, 200, (count, 5, 4)) + 20 * labels[:, None, None]
    texts = [
        " ".join(random.choice(WORDS[label if chance < 0.6 else 0], 3))
        for label, chance in zip(labels, random.random(count), strict=True)
    ]
    columns: dict[str, Column] = {
        "年龄 / age": age[:, None],
        "note": np.array(texts, dtype=object),
        "picture": pictures.astype(np.uint8),
        "relu": np.where(random.random(count) < 0.5, labels + 2, random.integers(0, 5, count)).astype(np.int32)[
            :, None
        ],
    }
    return Split(columns, labels)


def _mixed() -> Dataset:
    return Dataset(INPUTS, ("x", "y", "z"), _split(300, 0), _split(100, 1), _split(100, 2), {})


def _settings(folder: Path, **sections: Any) -> config.Run:
    document = {
        "name": "mixed",
        "seed": 3,
        "models": folder / "models",
        "runs": folder / "runs",
        "data": {"source": "npz", "file": folder / "none.npz"},
        "fit": {"epochs": 3, "batch_size": 25},
        "model": {"hidden": (16,)},
        **sections,
    }
    return config.Run.model_validate(document)


def _published(settings: config.Run, dataset: Dataset) -> Path:
    runtime.prepare(1)
    settings = defaults.fill(settings, dataset)
    progress = run.start(settings, dataset)
    dataset = encoders.prepare(progress.model.placed, dataset)
    loop.fit(progress, settings, dataset)
    return run.finish(settings, dataset, dataset.fingerprint(), progress).folder


@pytest.fixture(scope="module", params=["rows", "mixed"])
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """A version's folder, its parity already checked by the exporter, and what it was trained on."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "mixed":
        return _published(_settings(folder), _mixed()), _mixed()
    settings = run_file.read(rows.write(folder), [f"models={folder}/models", f"runs={folder}/runs", "model.members=2"])
    return run.train(settings, say=lambda _: None).folder, sources.read(settings.data)


def _session(folder: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def _ask(folder: Path, columns: dict[str, Any]) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = _session(folder).run(["probabilities"], columns)[0]
    return found


def test_the_graph_takes_the_columns_by_their_own_names(artifact: tuple[Path, Dataset]) -> None:
    """One input a column in the schema's order, of its type, whatever script the name is written in."""
    folder, dataset = artifact
    graph = onnx.load(folder / "model.onnx").graph
    assert [value.name for value in graph.input] == [schema.name for schema in dataset.inputs]
    for value, schema in zip(graph.input, dataset.inputs, strict=True):
        kind = value.type.tensor_type
        assert onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) == np.dtype(schema.dtype)
        sizes = [axis.dim_value or -1 for axis in kind.shape.dim]
        assert sizes == [-1, *schema.shape]


def test_a_service_gets_the_golden_probabilities(artifact: tuple[Path, Dataset]) -> None:
    """From JSON instances through the manifest's schema: ordinary rows, ends, beyond, all missing, all unknown."""
    folder, _ = artifact
    manifest = manifest_module.load(folder)
    columns = client_inputs.tensors(manifest.inputs, [golden.instance for golden in manifest.golden])
    expected = np.array([golden.probabilities for golden in manifest.golden if isinstance(golden, Golden)])
    assert np.abs(_ask(folder, columns) - expected).max() <= 1e-5
    assert len(manifest.golden) >= 3 + len(probes.ENDS) - 1


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_whatever_comes_in_probabilities_come_out(artifact: tuple[Path, Dataset], batch: int) -> None:
    """Codes that do not exist, infinities, ±3e38, odd texts: finite, not negative, sum 1."""
    folder, dataset = artifact
    for _, columns in probes.columns(dataset, batch):
        found = _ask(folder, columns)
        assert np.isfinite(found).all()
        assert (found >= 0).all()
        assert np.abs(found.sum(axis=1) - 1).max() <= 1e-5


def test_an_answer_does_not_depend_on_its_batch(artifact: tuple[Path, Dataset]) -> None:
    """Alone, among others, in another order: the same to 1e-6."""
    folder, dataset = artifact
    columns = dict(probes.columns(dataset, 64))["noise"]
    together = _ask(folder, columns)
    turned = _ask(folder, {name: column[::-1].copy() for name, column in columns.items()})
    alone = np.concatenate(
        [_ask(folder, {name: column[row : row + 1] for name, column in columns.items()}) for row in range(16)]
    )
    assert np.abs(together - turned[::-1]).max() <= 1e-6
    assert np.abs(together[:16] - alone).max() <= 1e-6


def test_the_manifest_holds_the_effective_configuration(artifact: tuple[Path, Dataset]) -> None:
    """What the file left open is there as it was used."""
    folder, dataset = artifact
    if dataset.inputs[0].name != "age":
        return
    training = manifest_module.load(folder).training
    assert training is not None
    configuration = training.configuration
    assert configuration["fit"]["average"] == 0.999  # type: ignore[index,call-overload]  # any JSON, by its type
    assert configuration["data"]["validation"] == 0.2  # type: ignore[index,call-overload]  # see above


def _trained(settings: config.Run, dataset: Dataset, folder: Path, *, until: int | None = None) -> Progress:
    """Train on from the newest checkpoint, with one an epoch, to the end or until an epoch."""
    progress = run.start(settings, dataset)
    checkpoint.load_newest(folder, progress, settings, dataset.fingerprint())

    def on_epoch(now: Progress) -> None:
        checkpoint.save(folder, now, settings, dataset.fingerprint())
        if len(now.epochs) == until:
            raise InterruptedError

    try:
        loop.fit(progress, settings, dataset, on_epoch=on_epoch)
    except InterruptedError:
        return progress
    return progress


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    """With averaged weights, members, blanking and early stopping; two runs of one seed are equal anyway."""
    runtime.prepare(1)
    settings = run_file.read(rows.write(tmp_path), ["model.members=3", "fit.epochs=6"])
    dataset = sources.read(settings.data)
    settings = defaults.fill(settings, dataset)
    whole = _trained(settings, dataset, tmp_path / "whole")
    _trained(settings, dataset, tmp_path / "halves", until=2)
    resumed = _trained(settings, dataset, tmp_path / "halves")
    assert whole.best_weights.keys() == resumed.best_weights.keys()
    assert all(torch.equal(value, resumed.best_weights[name]) for name, value in whole.best_weights.items())
    assert all(torch.equal(value, resumed.average[name]) for name, value in whole.average.items())


def test_members_differ_and_their_answer_is_the_mean(tmp_path: Path) -> None:
    """Each saw the rows in its own order; in evaluation the logits are the logarithm of the mean probability."""
    settings = run_file.read(rows.write(tmp_path), ["model.members=2"])
    dataset = sources.read(settings.data)
    progress = run.start(settings, dataset)
    loop.fit(progress, settings, dataset)
    features = torch.randn(5, encoders.width(encoders.build(dataset.inputs, dataset.train, settings, 3)))
    members = progress.model.mlp.eval()
    first, second = (torch.softmax(member(features), dim=1) for member in members.members)  # type: ignore[union-attr]  # two were asked for
    assert not torch.equal(first, second)
    torch.testing.assert_close(members(features).exp(), (first + second) / 2)


def test_patience_ends_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    """So many epochs after its best one, and a resumed run does not go on either."""
    settings = run_file.read(rows.write(tmp_path), ["fit.patience=2", "fit.epochs=60", "optimizer.learning_rate=0.3"])
    dataset = sources.read(settings.data)
    progress = _trained(settings, dataset, tmp_path / "runs")
    assert len(progress.epochs) == progress.best_epoch + 2 < 60
    assert len(_trained(settings, dataset, tmp_path / "runs").epochs) == len(progress.epochs)
