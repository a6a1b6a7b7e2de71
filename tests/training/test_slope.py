"""A row's entropy changes its logits only where held-out rows say so, and never the order of its classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmax import manifest
from clipmax.manifest import MODEL_FILE
from clipmax.refusal import Refusal
from tests.training.samples import Array, sample
from training import answers, calibration, export, loop, metrics, novelty, slope
from training.config import Run
from training.data.dataset import Dataset
from training.loop import Progress
from training.model import Calibrated
from training.report.figures import Report
from training.slope import LEAST, Line, Slope

LINE = Line(slope=0.8, center=0.4)


def bent(seed: int, rows: int) -> tuple[Array, Array]:
    """Logits of a model that is too sure of its sure rows: the labels follow the logits times their factor."""
    logits, _ = sample(seed, rows=rows, classes=8)
    factors = Slope(LINE)(torch.from_numpy(logits).float()).numpy()
    return logits, (factors + np.random.default_rng(seed).gumbel(size=logits.shape)).argmax(axis=1)


def test_it_recovers_the_line_that_made_the_labels() -> None:
    """From 20,000 rows, within a tenth; the factor is 1 at their own mean entropy."""
    found = slope.fit(*bent(0, 20_000))
    assert found is not None
    at_center = 1.0 + LINE.slope * (found.center - LINE.center)
    assert found.slope == pytest.approx(LINE.slope / at_center, rel=0.1)


def test_new_rows_gain_where_there_is_something_to_mend() -> None:
    """Fitted on 1,000 rows: less log loss and less calibration error on 20,000 others than one temperature gives."""
    logits, labels = bent(1, 1000)
    found = slope.fit(logits, labels)
    assert found is not None
    others, truth = bent(2, 20_000)
    inclined = [Slope(found)(torch.from_numpy(rows).float()).numpy() for rows in (logits, others)]
    plain = metrics.evaluate(others, truth, calibration.fit_temperature(logits, labels))
    mended = metrics.evaluate(inclined[1], truth, calibration.fit_temperature(inclined[0], labels))
    assert mended.log_loss < plain.log_loss - 0.002
    assert mended.ece < plain.ece - 0.005
    assert mended.accuracy == plain.accuracy


def test_rows_with_nothing_to_mend_mostly_keep_their_logits() -> None:
    """Labels drawn from one temperature: by chance a difference exceeds its standard error in about one of six."""
    found = [slope.fit(*sample(seed, rows=300)) for seed in range(60)]
    assert sum(line is not None for line in found) <= 18


def test_it_is_judged_on_rows_that_were_left_out() -> None:
    """The factor without a row is what a fit of all the others gives, to second order."""
    logits, labels = bent(3, 150)
    entropies = slope._entropies(logits)
    design = np.stack([np.ones(150), entropies - entropies.mean()], axis=1)
    together, apart = slope._solve(logits, labels, design)
    for row in range(0, 150, 10):
        others = np.arange(150) != row
        weights, _ = slope._solve(logits[others], labels[others], design[others])
        change = (weights - together) @ design[row]
        assert apart[row] - together @ design[row] == pytest.approx(change, rel=0.15, abs=1e-4)


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=9), st.floats(-5.0, 5.0))
@settings(max_examples=200, deadline=None)
def test_the_order_of_a_row_never_turns(row: list[float], steepness: float) -> None:
    """Whatever the logits and the line: no class passes another, and nothing is NaN or infinite."""
    logits = torch.tensor([row])
    found = Slope(Line(slope=steepness, center=0.3))(logits)
    assert torch.isfinite(found).all()
    assert (found[0, logits[0].argsort()].diff() >= 0).all()
    assert found.abs().max() >= 0.9 * LEAST * logits.abs().max()


def test_saturated_rows_stay_finite() -> None:
    """One class impossible, all alike, differences beyond float32."""
    logits = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [3e38, -3e38, 0.0], [-1e30, -1e30, -1e30]])
    probabilities = torch.softmax(Slope(LINE)(logits), dim=1)
    assert torch.isfinite(probabilities).all()
    assert probabilities[2].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_handful_of_rows_is_no_ground_for_a_line(rows: int) -> None:
    """Equal logits, and single rows."""
    assert slope.fit(np.zeros((rows, 3)), np.zeros(rows, dtype=int)) is None
    assert slope.fit(np.eye(3)[:1], np.array([0])) is None


def test_a_published_version_has_it_in_graph_and_report(trained: tuple[Run, Dataset, Progress], tmp_path: Path) -> None:
    """Past the parity gate, beside a novelty score; the logits have the factor in them, and so have the figures."""
    settings, dataset, progress = trained
    progress.model.load_state_dict(progress.best_weights)
    finished = export.Finished(
        run=settings.model_copy(update={"models": tmp_path}),
        dataset=dataset,
        fingerprint=dataset.fingerprint(),
        progress=progress,
        model=novelty.attached(Calibrated(progress.model, 1.2, Slope(LINE)).eval(), dataset, "probability"),
    )
    folder = export.publish(finished)
    published = manifest.load(folder)
    report = Report.model_validate_json((folder / "report.json").read_bytes())
    assert (report.slope, report.slope_center) == (LINE.slope, LINE.center)
    found = answers.answer(answers.session(folder / MODEL_FILE), dataset.inputs, dataset.test)
    expected = Slope(LINE)(torch.from_numpy(loop.logits_of(progress.model, dataset, dataset.test)))
    assert np.allclose(found.logits, expected.numpy(), atol=1e-4)
    assert published.metrics == metrics.evaluate(found.logits, found.labels, published.temperature)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((2, 1)), np.array([0, 0])),
        (np.zeros((0, 2)), np.zeros(0, dtype=int)),
        (np.array([[np.inf, 0.0]]), np.array([0])),
        (np.zeros((2, 2)), np.array([0, 2])),
    ],
)
def test_what_cannot_be_calibrated_is_refused(logits: Array, labels: Array) -> None:
    """One class, no rows, infinite logits and labels outside the classes."""
    with pytest.raises(Refusal) as refused:
        slope.fit(logits, labels)
    assert refused.value.where == "slope"
