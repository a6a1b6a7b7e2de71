"""Real classifiers of other tools become graphs that say the same, with their logits, ends and thresholds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from clipmax.refusal import Refusal
from tests.training.adopt import frameworks
from tests.training.adopt.examining import examine, examine_foreign
from training.metrics import log_loss

NAMES = list(frameworks.MAKERS)
SCORES = {
    "logistic_regression": "probabilities",
    "random_forest": "probabilities",
    "naive_bayes": "probabilities",
    "two_classes": "probabilities",
    "torch_log_softmax": "log probabilities",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_says_what_the_tool_says(name: str, tmp_path: Path) -> None:
    """Within 1e-5 of the tool's own probabilities, on its own rows, with one softmax and standard operators."""
    foreign = frameworks.MAKERS[name]()
    found = examine_foreign(tmp_path, foreign)
    logits, probabilities = found.run(foreign.rows)
    np.testing.assert_allclose(probabilities, foreign.probabilities, atol=1e-5)
    assert np.isfinite(logits).all()
    assert found.outcome.imported["scores"] == SCORES.get(name, "logits")
    operators = [node.op_type for node in onnx.load_from_string(found.graph).graph.node]
    assert operators.count("Softmax") == 1
    assert "ZipMap" not in operators


def test_validation_gives_temperature_and_thresholds_and_test_the_figures(tmp_path: Path) -> None:
    """A temperature that fits better than none, tables of the held out half, figures of the other rows."""
    foreign = frameworks.logistic_regression()
    classes = np.array([foreign.labels.index(kind) for kind in frameworks.flowers()[1]])
    data = {"validation": (foreign.rows[1::4], classes[1::4]), "test": (foreign.rows[3::4], classes[3::4])}
    found = examine(tmp_path, foreign.content, foreign.labels, data)
    members = found.outcome.members
    temperature = members["temperature"]
    assert isinstance(temperature, float)
    assert temperature != 1.0
    logits, probabilities = found.run(foreign.rows[1::4])
    assert log_loss(logits, classes[1::4], temperature) < log_loss(logits, classes[1::4])
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert members["conformal"]["plain"]["rows"] == len(foreign.rows[1::4]) // 2  # type: ignore[index,call-overload]
    assert members["metrics"]["rows"] == len(foreign.rows[3::4])  # type: ignore[index,call-overload]
    assert found.outcome.imported["rows"] == {"validation": 38, "test": 37}


def test_without_data_nothing_is_claimed(tmp_path: Path) -> None:
    """No temperature but 1, no thresholds, no figures."""
    members = examine_foreign(tmp_path, frameworks.torch_logits()).outcome.members
    assert members["temperature"] == 1.0
    assert [members[name] for name in ("metrics", "conformal", "abstention", "reference")] == [None] * 4


def test_absurd_numbers_are_clipped_to_where_scores_are_finite(tmp_path: Path) -> None:
    """3e38 gives the answer at the end of the range; the schema says where that is, and a gap is no number."""
    found = examine_foreign(tmp_path, frameworks.torch_logits())
    assert all(schema.kind == "number" and schema.required for schema in found.inputs)
    bound = float(found.inputs[0].maximum)  # type: ignore[union-attr]
    assert 1e6 <= bound < 3e38
    _, (end, beyond) = found.run(np.array([[bound] * 6, [3e38] * 6]))
    np.testing.assert_array_equal(end, beyond)


def test_golden_examples_are_rows_as_clients_send_them(tmp_path: Path) -> None:
    """Sixteen, each with the probabilities of the file."""
    foreign = frameworks.keras_digits()
    golden = examine_foreign(tmp_path, foreign).outcome.members["golden"]
    assert isinstance(golden, list)
    assert len(golden) == 16
    assert all(isinstance(one, dict) and len(one["instance"]) == 64 for one in golden)  # type: ignore[arg-type]


def test_labels_in_another_order_than_the_file_are_refused(tmp_path: Path) -> None:
    """scikit-learn sorts its classes; a list in another order would give every answer another's name."""
    foreign = frameworks.logistic_regression()
    with pytest.raises(Refusal, match="labels: order: expected as the file has them, 'setosa, versicolor, virginica'"):
        examine(tmp_path, foreign.content, foreign.labels[::-1])


def test_another_number_of_labels_is_refused(tmp_path: Path) -> None:
    """With what the file has."""
    foreign = frameworks.torch_logits()
    with pytest.raises(Refusal, match=r"classes: expected 4, one a label, found .*\[N, 3\]"):
        examine(tmp_path, foreign.content, ("a", "b", "c", "d"))


def test_columns_are_named_by_the_data(tmp_path: Path) -> None:
    """In their order; another number of names is refused."""
    foreign = frameworks.logistic_regression()
    found = examine_foreign(tmp_path, foreign, columns=frameworks.FLOWER_COLUMNS)
    assert tuple(schema.name for schema in found.inputs) == frameworks.FLOWER_COLUMNS
    with pytest.raises(Refusal, match="columns: expected 3, as are named, found 4"):
        examine_foreign(tmp_path, foreign, columns=("a", "b", "c"))
