"""Real classifiers of other tools as ONNX files, each with rows and the probabilities that the tool itself gives."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Array = npt.NDArray[Any]
KERAS = Path(__file__).parent / "keras_files"
FLOWERS = ("setosa", "versicolor", "virginica")
FLOWER_COLUMNS = ("sepal length", "sepal width", "petal length", "petal width")


@dataclass(frozen=True)
class Foreign:
    """One file, and what the tool that made it says about some rows.

    Args:
        content: of the ONNX file.
        labels: in the order of its classes.
        rows: float32 [N, columns], or uint8 pixels.
        probabilities: float [N, K], by the tool.
        pixels: for images, what 0 and 255 are for the model.
    """

    content: bytes
    labels: tuple[str, ...]
    rows: Array
    probabilities: Array
    pixels: tuple[float, float] | None = None


def flowers() -> tuple[Array, Array]:
    """The iris data: float32 [150, 4], and the name of each flower's kind."""
    data = load_iris()
    return data.data.astype(np.float32), np.array(FLOWERS)[data.target]


def write_flowers(path: Path) -> Path:
    """The same as a CSV with the label in the column "kind"."""
    rows, kinds = flowers()
    columns = {name: rows[:, place] for place, name in enumerate(FLOWER_COLUMNS)}
    pl.DataFrame({**columns, "kind": kinds}).write_csv(path)
    return path


@cache
def logistic_regression() -> Foreign:
    """Behind a scaler, with labels as words; ends in a Normalizer and a ZipMap."""
    return _sklearn(make_pipeline(StandardScaler(), LogisticRegression()), *flowers())


def random_forest() -> Foreign:
    """Probabilities that are exactly 0 for many rows."""
    return _sklearn(RandomForestClassifier(7, random_state=0), *flowers())


def naive_bayes() -> Foreign:
    """Its graph takes logarithms and sums of its own."""
    return _sklearn(GaussianNB(), *flowers())


def small_network() -> Foreign:
    """scikit-learn's own, which ends in a softmax."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, which does not matter here
        return _sklearn(MLPClassifier((8,), max_iter=40, random_state=0), *flowers())


def two_classes() -> Foreign:
    """A binary one with thirty columns, and classes by number."""
    data = load_breast_cancer()
    model = make_pipeline(StandardScaler(), LogisticRegression())
    foreign = _sklearn(model, data.data.astype(np.float32), data.target)
    return Foreign(foreign.content, ("malignant", "benign"), foreign.rows, foreign.probabilities)


@cache
def torch_logits() -> Foreign:
    """A PyTorch network that ends in its logits."""
    return _torch(torch.nn.Linear(6, 3), softmax=lambda logits: torch.softmax(logits, dim=1))


def torch_softmax() -> Foreign:
    """The same with a softmax of its own."""
    return _torch(torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.Softmax(dim=1)), softmax=lambda found: found)


def torch_log_softmax() -> Foreign:
    """The same with its logarithm, as NLLLoss wants it."""
    return _torch(torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.LogSoftmax(dim=1)), softmax=torch.exp)


def torch_sigmoid() -> Foreign:
    """One probability for two labels."""
    network = torch.nn.Sequential(torch.nn.Linear(6, 1), torch.nn.Sigmoid())
    found = _torch(network, softmax=lambda second: torch.cat([1 - second, second], dim=1))
    return Foreign(found.content, ("no", "yes"), found.rows, found.probabilities)


def keras_digits() -> Foreign:
    """A convolutional network of Keras 3 for 8×8 digits of 0..1; see `make_keras_files.py`."""
    with np.load(KERAS / "answers.npz") as arrays:
        pixels, probabilities = arrays["pixels"], arrays["probabilities"]
    labels = tuple(map(str, range(10)))
    return Foreign((KERAS / "digits.onnx").read_bytes(), labels, pixels, probabilities, (0.0, 1.0))


MAKERS: Mapping[str, Callable[[], Foreign]] = {
    maker.__name__: maker
    for maker in (
        logistic_regression,
        random_forest,
        naive_bayes,
        small_network,
        two_classes,
        torch_logits,
        torch_softmax,
        torch_log_softmax,
        torch_sigmoid,
        keras_digits,
    )
}


def _sklearn(model: Any, rows: Array, labels: Array) -> Foreign:
    model.fit(rows[::2], labels[::2])
    content = to_onnx(model, rows[:1]).SerializeToString()
    return Foreign(content, tuple(map(str, model.classes_)), rows, model.predict_proba(rows))


def _torch(network: torch.nn.Module, *, softmax: Callable[[torch.Tensor], torch.Tensor]) -> Foreign:
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    rows = torch.randn(40, 6)
    with torch.no_grad():
        probabilities = softmax(network(rows)).numpy()
    content = export(network, rows[:2], dynamic_shapes=({0: torch.export.Dim("batch")},))
    return Foreign(content, ("red", "green", "blue"), rows.numpy(), probabilities)


def export(network: torch.nn.Module, example: torch.Tensor, **settings: Any) -> bytes:
    """What `torch.onnx.export` writes."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecated internals
        program = torch.onnx.export(network.eval(), (example,), dynamo=True, verbose=False, **settings)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content
