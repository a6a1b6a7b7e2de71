"""Going on from a published version: the same answers at first, new labels beside known ones, what does not fit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn, optim

from clipmax import manifest as manifest_module
from clipmax.manifest import MODEL_FILE
from clipmax.refusal import Refusal
from tests.training import rows, tables, tiny
from training import answers, checkpoint, loop, optimizers, predecessor, run, run_file
from training.composite import CompositeOptimizer
from training.config import Run
from training.features.text.encoder import TextEncoder
from training.run import Ready
from training.slope import Line, Slope

MIXED = """
name = "mixed"

[data]
source = "table"
train = "train.csv"
test = "test.csv"
label = "label"
texts = ["text"]
"""


def _images(folder: Path) -> Path:
    path = tiny.write(folder)
    path.write_text(path.read_text(encoding="utf-8") + "keep = 'last'\n", encoding="utf-8")
    return path


def _rows(folder: Path) -> Path:
    path = rows.write(folder)
    path.write_text(path.read_text(encoding="utf-8").replace("[model]", "[model]\nmembers = 2"), encoding="utf-8")
    return path


def _texts(folder: Path) -> Path:
    tables.write(folder / "train.csv", rows=300, seed=0)
    tables.write(folder / "test.csv", rows=90, seed=1)
    path = folder / "run.toml"
    path.write_text(MIXED, encoding="utf-8")
    return path


KINDS: dict[str, Callable[[Path], Path]] = {"images": _images, "rows": _rows, "texts": _texts}


def _read(path: Path, *overrides: str) -> Run:
    return run_file.read(path, [*tiny.places(path.parent), "fit.epochs=2", *overrides])


@pytest.fixture(scope="module", params=list(KINDS))
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run's file and the version that it became."""
    path = KINDS[request.param](tmp_path_factory.mktemp(request.param))
    return path, run.train(_read(path), say=lambda _: None).folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same for images alone, of eight of the ten digits, trained until it knows them."""
    path = _digits(tmp_path_factory.mktemp("digits"), lambda label: label < 8)
    return path, run.train(_read(path, "fit.epochs=12", "optimizer.learning_rate=0.01"), say=lambda _: None).folder


def _digits(folder: Path, chosen: Callable[[np.ndarray], np.ndarray], words: tuple[str, ...] = ()) -> Path:
    path = tiny.write(folder)
    images, labels, test_images, test_labels = tiny.arrays()
    kept, test_kept = chosen(labels), chosen(test_labels)
    for name, array in (
        ("train", (images[kept], labels[kept])),
        ("test", (test_images[test_kept], test_labels[test_kept])),
    ):
        (folder / f"{name}-images").write_bytes(tiny.idx_bytes(array[0]))
        (folder / f"{name}-labels").write_bytes(tiny.idx_bytes(array[1]))
    words = words or tuple(str(label) for label in range(int(labels[kept].max()) + 1))
    labels_line = f"labels = {json.dumps(words, ensure_ascii=False)}"
    path.write_text(path.read_text(encoding="utf-8").replace("validation = 0.2", f"validation = 0.2\n{labels_line}"))
    return path


def _from(path: Path, version: Path, *overrides: str) -> Ready:
    return run.read(_read(path, f"start.version={version}", *overrides))


def test_the_first_weights_give_the_answers_of_the_version(published: tuple[Path, Path]) -> None:
    """Encoders, hidden layers and the rows of all labels: before the first step, the logits of the served graph."""
    path, version = published
    ready = _from(path, version)
    progress, dataset = run.begin(ready)
    assert ready.predecessor is not None
    if progress.model.mixture is not None:
        progress.model.mixture.share.copy_(ready.predecessor.weights.take("mixture.share"))
    found = _inclined(loop.logits_of(progress.model, dataset, dataset.validation), version)
    session = answers.session((version / MODEL_FILE).read_bytes())
    expected = answers.answer(session, dataset.inputs, dataset.validation)
    np.testing.assert_allclose(found, expected.logits, atol=2e-5)


def _inclined(logits: np.ndarray, version: Path) -> np.ndarray:
    """As the version's graph gives them: a slope belongs to its calibration, which a new version fits anew."""
    report = json.loads((version / "report.json").read_text())
    if report["slope"] is None:
        return logits
    line = Line(report["slope"], report["slope_center"])
    return np.asarray(Slope(line)(torch.from_numpy(logits)))


def test_the_new_version_says_where_it_comes_from(digits: tuple[Path, Path]) -> None:
    """Name, version and hash of the graph in the manifest and the report; no folder of this machine."""
    path, version = digits
    folder = run.train(_read(path, f"start.version={version}"), say=lambda _: None).folder
    before, after = manifest_module.load(version), manifest_module.load(folder)
    assert after.origin is not None
    assert after.training is not None
    assert (after.origin.name, after.origin.version) == (before.name, before.version)
    assert after.origin.sha256 == before.files[MODEL_FILE].sha256
    assert (after.origin.known_labels, after.origin.new_labels) == (len(before.labels), 0)
    assert after.inputs == before.inputs
    assert after.training.configuration["start"] == {
        "version": f"{version.parent.name}/{version.name}", "frozen_layers": 0, "old_rate": 0.1,
    }  # fmt: skip
    assert f"went on from {before.name} version" in (folder / "report.html").read_text(encoding="utf-8")


def test_new_labels_are_answered_before_the_first_step(digits: tuple[Path, Path], tmp_path: Path) -> None:
    """Imprinted from the mean of their rows: found in most cases, while the known ones stay nearly as they were."""
    _, version = digits
    progress, dataset = run.begin(_from(_digits(tmp_path, lambda label: label < 10), version))
    predicted = loop.logits_of(progress.model, dataset, dataset.validation).argmax(axis=1)
    right = predicted == dataset.validation.labels
    new = dataset.validation.labels >= 8
    assert right[new].mean() > 0.4
    assert right[~new].mean() > 0.7  # with eight labels alone 0.96


def test_labels_are_matched_by_name_not_by_number(digits: tuple[Path, Path], tmp_path: Path) -> None:
    """In another order, written otherwise in Unicode, and without those that are no longer there."""
    _, version = digits
    words = ("7", "new", "3", "0")
    path = _digits(tmp_path, lambda label: label < 4, words)
    ready = _from(path, version)
    assert ready.predecessor is not None
    assert ready.predecessor.known(words) == {0: 7, 2: 3, 3: 0}
    progress, _ = run.begin(ready)
    last = [layer for layer in progress.model.mlp.modules() if isinstance(layer, nn.Linear)][-1]
    theirs = ready.predecessor.weights.take("mlp.6.weight")
    assert torch.equal(last.weight[[0, 2, 3]], theirs[[7, 3, 0]])
    decomposed = dataclasses.replace(
        ready.predecessor, manifest=ready.predecessor.manifest.model_copy(update={"labels": ("e\u0301", "b")})
    )
    assert decomposed.known(("b", "é")) == {0: 1, 1: 0}


def test_labels_that_are_all_new_are_all_imprinted(digits: tuple[Path, Path], tmp_path: Path) -> None:
    """Only the features are of use then."""
    _, version = digits
    path = _digits(tmp_path, lambda label: label < 4, ("a", "b", "c", "d"))
    progress, dataset = run.begin(_from(path, version))
    predicted = loop.logits_of(progress.model, dataset, dataset.validation).argmax(axis=1)
    assert (predicted == dataset.validation.labels).mean() > 0.8


def test_frozen_layers_keep_their_weights(published: tuple[Path, Path]) -> None:
    """Bit for bit, and the encoders before them; the answers' layer learns."""
    path, version = published
    ready = _from(path, version, "start.frozen_layers=1", "fit.epochs=1")
    progress, dataset = run.begin(ready)
    before = {name: value.clone() for name, value in progress.model.state_dict().items()}
    frozen = {name for name, weight in progress.model.named_parameters() if not weight.requires_grad}
    loop.fit(progress, ready.run, dataset)
    moved = {name for name, value in progress.model.state_dict().items() if not torch.equal(value, before[name])}
    assert frozen
    assert not frozen & moved
    assert moved
    assert not any("wide" in name for name in frozen)


def test_old_layers_learn_at_their_share_of_the_rate(published: tuple[Path, Path]) -> None:
    """Every weight is in exactly one group; the encoders and hidden layers are in the slow ones."""
    path, version = published
    progress, _ = run.begin(_from(path, version, "start.old_rate=0.25"))
    optimizers.set_learning_rate(progress.optimizer, 0.1)
    rates = {id(weight): group["lr"] for group in progress.optimizer.param_groups for weight in group["params"]}
    names = dict(progress.model.named_parameters())
    assert len(rates) == len(names) == sum(len(group["params"]) for group in progress.optimizer.param_groups)
    for prefix, mlp in predecessor._perceptrons(progress.model):
        first, last = (layer for layer in mlp if isinstance(layer, nn.Linear)), mlp[-1]
        assert rates[id(next(first).weight)] == pytest.approx(0.025), prefix
        assert rates[id(last.weight)] == pytest.approx(0.1)
    for encoder in progress.model.encoders:
        if isinstance(encoder, TextEncoder):
            relative = {
                id(weight): group.get("relative_rate", 1.0)
                for group in progress.optimizer.param_groups
                for weight in group["params"]
            }
            assert relative[id(encoder.deep)] * 4 == pytest.approx(0.1 / 0.01)  # texts.deep_rate / learning_rate
            assert relative[id(encoder.wide)] == pytest.approx(0.3 / 0.01)


def test_a_composite_optimizer_stays_one() -> None:
    """Its members are slowed one by one."""
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    whole = CompositeOptimizer([optim.SGD(one.parameters(), lr=1.0), optim.SGD(other.parameters(), lr=1.0)])
    slow = predecessor.slowed(whole, {one.get_parameter("weight")}, 0.5)
    assert isinstance(slow, CompositeOptimizer)
    assert [len(group["params"]) for group in slow.param_groups] == [1, 1, 2]
    for layer in (one, other):
        layer(torch.ones(1, 2)).sum().backward()
    before = other.weight.clone()
    slow.step()
    assert not torch.equal(other.weight, before)


def test_a_run_from_a_version_resumes_to_the_same_weights(published: tuple[Path, Path], tmp_path: Path) -> None:
    """The checkpoint holds all that changed, so only the version's folder must still be there."""
    path, version = published
    ready = _from(path, version, "start.frozen_layers=1")
    whole, dataset = run.begin(ready)
    loop.fit(whole, ready.run, dataset)
    half, dataset = run.begin(ready)

    def interrupt(progress: loop.Progress) -> None:
        checkpoint.save(tmp_path, progress, ready.run, ready.fingerprint)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.fit(half, ready.run, dataset, on_epoch=interrupt)
    resumed, dataset = run.begin(ready)
    assert checkpoint.load_newest(tmp_path, resumed, ready.run, ready.fingerprint) == 1
    loop.fit(resumed, ready.run, dataset)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.hidden=[24]", r"model\.hidden: expected \(24, 12\) as tiny has, found \(24,\)"),
        ("model.activation=gelu", r"model\.activation: expected 'relu' as tiny has, found 'gelu'"),
        ("start.frozen_layers=3", r"start\.frozen_layers: expected at most its 2 hidden layers, found 3"),
    ],
)
def test_another_architecture_is_refused(override: str, message: str, digits: tuple[Path, Path]) -> None:
    """Only where the configuration says so itself; else it is the version's."""
    path, version = digits
    with pytest.raises(Refusal, match=message):
        run.read(_read(path, f"start.version={version}", override))


def test_inputs_that_do_not_fit_are_refused(digits: tuple[Path, Path], tmp_path: Path) -> None:
    """A table cannot go on from images."""
    _, version = digits
    with pytest.raises(Refusal, match="inputs: expected no other columns than its own, found Stadt/城市, age, colour"):
        _from(rows.write(tmp_path), version)


def test_a_graph_of_others_is_refused(digits: tuple[Path, Path], tmp_path: Path) -> None:
    """Its weights have no names that could be told."""
    path, version = digits
    copy = tmp_path / version.parent.name / version.name
    shutil.copytree(version, copy)
    (copy / MODEL_FILE).write_bytes((version / MODEL_FILE).read_bytes().replace(b"classifier.mlp", b"classified.mlp"))
    with pytest.raises(Refusal, match="sha256"):
        _from(path, copy)
    document = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    content = (copy / MODEL_FILE).read_bytes()
    document["files"][MODEL_FILE] = _record(content)
    (copy / "manifest.json").write_bytes(manifest_module.dump(manifest_module.seal(document)))
    with pytest.raises(Refusal, match="initializers: expected a graph that clipmax train wrote"):
        _from(path, copy)


def _record(content: bytes) -> dict[str, object]:
    """What a manifest says about a file."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
