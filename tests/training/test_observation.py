"""Looking at a model changes nothing in it and costs little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training import tiny
from training import loop, losses, run
from training.config import Run
from training.data.dataset import Dataset
from training.diagnostics import DeadUnits, Diagnostics
from training.features import columns
from training.loop import Progress
from training.observation import evenly, observe, sample


def observed(settings: Run, dataset: Dataset, progress: Progress) -> Diagnostics:
    """Of the first 100 training rows."""
    rows = np.arange(100)
    batch = columns.tensors(dataset.inputs, dataset.train, rows)
    labels = torch.from_numpy(dataset.train.labels[rows])
    return observe(progress.model, batch, labels, losses.build(settings.loss))


@pytest.mark.parametrize(
    ("rows", "classes", "kept"),
    [(50, 2, 50), (600, 2, 64), (32_000, 10, 1000), (10**6, 10, 2048), (10**6, 10**5, 40)],
)
def test_the_sample_is_a_small_share_of_the_rows(rows: int, classes: int, kept: int) -> None:
    """One in 32, within bounds, all different, from all over the file."""
    found = sample(rows, classes)
    assert len(found) == len(np.unique(found)) == kept
    assert found[0] == 0
    assert found[-1] >= rows - 2 * rows / kept


def test_rows_are_evenly_spaced() -> None:
    """A file that is sorted by class still shows all of them."""
    assert evenly(10, 4).tolist() == [0, 2, 5, 7]
    assert evenly(3, 8).tolist() == [0, 1, 2]


def test_looking_leaves_weights_gradients_and_random_state_alone(trained: tuple[Run, Dataset, Progress]) -> None:
    """So that a run with diagnostics ends with the weights of one without."""
    settings, dataset, progress = trained
    weights = {name: value.clone() for name, value in progress.model.state_dict().items()}
    gradients = [parameter.grad for parameter in progress.model.parameters()]
    random = torch.get_rng_state()
    observed(settings, dataset, progress)
    assert all(torch.equal(value, weights[name]) for name, value in progress.model.state_dict().items())
    assert all(parameter.grad is given for parameter, given in zip(progress.model.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), random)


def test_layers_are_named_and_their_gradients_are_those_of_the_sample(trained: tuple[Run, Dataset, Progress]) -> None:
    """Hidden layers by the linear layer before the ReLU; norms as `backward` gives them."""
    settings, dataset, progress = trained
    found = observed(settings, dataset, progress)
    assert list(found.dead_units) == ["mlp.0", "mlp.3"]
    assert found.dead_units["mlp.0"].units == 24
    assert found.width == 12
    columns_, labels = columns.tensors(dataset.inputs, dataset.train, np.arange(100)), dataset.train.labels[:100]
    loss = losses.build(settings.loss)(progress.model(*columns_), torch.from_numpy(labels))
    last = progress.model.mlp[-1]  # type: ignore[index]  # an Mlp
    gradients = torch.autograd.grad(loss, [last.weight, last.bias])
    assert found.gradient_norms["mlp.6"] == pytest.approx(float(torch.nn.utils.get_total_norm(gradients)), rel=1e-5)


def test_every_epoch_has_its_diagnostics(trained: tuple[Run, Dataset, Progress]) -> None:
    """And they change as the model learns."""
    _, _, progress = trained
    found = [epoch.diagnostics for epoch in progress.epochs]
    assert found[-1].margin > found[0].margin
    assert all(one.seconds > 0 for one in found)


def test_dead_layers_are_found_in_a_real_model(tmp_path: Path) -> None:
    """Biases far below 0 switch all units of a layer off."""
    settings, dataset = tiny.dataset(tmp_path)
    progress = run.start(settings, dataset)
    with torch.no_grad():
        progress.model.mlp[0].bias.fill_(-1e6)  # type: ignore[index]  # an Mlp
    assert observed(settings, dataset, progress).dead_units["mlp.0"] == DeadUnits(dead=24, units=24)
    logits = loop.logits_of(progress.model, dataset, dataset.test)
    assert (logits == logits[0]).all()
