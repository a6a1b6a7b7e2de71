"""A published version of very many classes → one that scores some of them, with what it was measured to miss."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from clipmax import manifest as manifests
from clipmax.refusal import Refusal
from tests import artifacts
from tests.training.approximate import clustered
from training.approximate import export, layer
from training.data.dataset import Split


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clustered.publish(tmp_path_factory.mktemp("models"), abstention=artifacts.ABSTENTION)


def splits() -> list[Split]:
    """Rows to fit, to choose and to judge by."""
    return [clustered.rows(400, seed=seed) for seed in (3, 1, 2)]


@pytest.fixture(scope="module")
def made(exact: Path) -> Path:
    """The approximate version beside it."""
    return export.export(exact, *splits(), limit_ms=math.inf)


def test_the_manifest_says_what_was_measured(exact: Path, made: Path) -> None:
    """And which graph it was measured against."""
    before, found = manifests.load(exact), manifests.load(made)
    assert (found.version, found.is_top, found.is_approximate) == (before.version + 1, True, True)
    assert found.labels == before.labels
    assert found.abstention is None
    assert found.head is not None
    measured = found.head.approximate
    assert measured is not None
    assert measured.recall_at_k >= export.RECALL
    assert measured.rows == 400
    assert measured.probed < measured.cells == clustered.CLASSES / 16
    assert measured.dimensions == 17  # all of the 16 hidden values, and the bias
    assert measured.log_partition_error <= measured.log_partition_worst
    assert measured.p50_ms < measured.exact_p50_ms
    assert measured.exact == before.files[manifests.MODEL_FILE].sha256
    assert any("recall@5" in line for line in export.lines(made))


def test_what_it_finds_has_nearly_the_exact_probabilities(exact: Path, made: Path) -> None:
    """Those of one class differ only by the estimate of the partition sum."""
    instances = artifacts.rows(50, seed=7)
    graphs = [(folder / manifests.MODEL_FILE).read_bytes() for folder in (made, exact)]
    (ours, found, our_sum), (theirs, expected, their_sum) = (artifacts.run_top(one, instances) for one in graphs)
    is_same = ours[:, 0] == theirs[:, 0]
    assert is_same.mean() >= 0.98
    ratio = np.log(found[is_same, 0] / expected[is_same, 0])
    assert ratio == pytest.approx((their_sum - our_sum)[is_same], abs=1e-4)
    assert np.abs(our_sum - their_sum).mean() < 0.1
    assert (found.sum(axis=1) <= 1 + 1e-5).all()


def test_an_approximate_version_is_no_source_of_another(made: Path) -> None:
    """Its errors would add up unseen."""
    with pytest.raises(Refusal, match=r"head\.approximate: expected an exact version"):
        export.export(made, *splits())


def test_too_few_found_is_refused_with_the_figure(exact: Path) -> None:
    """Here because three dimensions are too few for the others; nothing is published."""
    fitting, tuning, held_out = splits()
    alike = tuning.take(np.zeros(400, dtype=np.int64))
    versions = sorted(exact.parent.iterdir())
    with pytest.raises(Refusal, match=r"recall@5: expected at least 0\.99, found 0\.\d+, with \d+ of 2,500 cells"):
        export.export(exact, fitting, alike, held_out, dimensions=3)
    assert sorted(exact.parent.iterdir()) == versions


def test_a_graph_above_the_limit_is_refused_with_the_figures(exact: Path) -> None:
    """However much faster than the exact one; the limit here is below what any machine reaches."""
    versions = sorted(exact.parent.iterdir())
    with pytest.raises(Refusal, match=r"p50: expected at most 1e-06 ms \(--limit-ms\), found 0\.\d+ ms, with"):
        export.export(exact, *splits(), limit_ms=1e-6)
    assert sorted(exact.parent.iterdir()) == versions


def test_a_mixture_has_no_layer_to_cut(tmp_path: Path) -> None:
    """Its probabilities are sums over several softmaxes."""
    folder = clustered.publish(tmp_path, head={"name": "mixture", "width": 16})
    with pytest.raises(Refusal, match=r"head\.name: expected a last layer that is h·W \+ b .*, found mixture"):
        export.export(folder, *splits())


def test_a_graph_without_a_plain_last_layer_is_refused() -> None:
    """Because there are no class vectors to cut into cells."""
    model = artifacts.top_model(1, 300, 5)
    product = next(node for node in model.graph.node if node.op_type == "MatMul")
    product.op_type = "Einsum"
    product.attribute.append(onnx.helper.make_attribute("equation", "nh,hk->nk"))
    with pytest.raises(Refusal, match="one last layer, h·W \\+ b of 300 classes, found 0 of them"):
        layer.find(model, 300, where=Path("model.onnx"))


@pytest.mark.parametrize("transposed", [False, True])
def test_the_last_layer_of_a_full_graph_is_found(transposed: bool) -> None:
    """A product and a sum, or both in one operator."""
    model = artifacts.model(1, labels=300)
    weight = next(one for one in model.graph.initializer if one.name == "weight")
    values = onnx.numpy_helper.to_array(weight)
    product = next(node for node in model.graph.node if node.op_type == "MatMul")
    if transposed:
        weight.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values.T), "weight"))
        product.op_type = "Gemm"
        product.attribute.append(onnx.helper.make_attribute("transB", 1))
    found = layer.find(model, 300, where=Path("model.onnx"))
    assert found.hidden == "scaled"
    assert np.array_equal(found.weight, values.T)
    assert not found.bias.any()
