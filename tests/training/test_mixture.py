"""Two models' logits in one answer: the share that held-out rows ask for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training import samples
from training import calibration, metrics
from training.mixture import Mixture, fit_share


def _loss(logits: samples.Array, labels: samples.Array) -> float:
    return metrics.log_loss(logits / calibration.fit_temperature(logits, labels), labels)


def test_the_part_that_knows_nothing_gets_no_share() -> None:
    """Either way round, to the precision of the search."""
    logits, labels = samples.sample(0)
    noise = np.random.default_rng(1).normal(size=logits.shape)
    assert fit_share(logits, noise, labels) < 0.1
    assert fit_share(noise, logits, labels) > 0.9


def test_the_mixture_is_no_worse_than_its_better_part() -> None:
    """On the rows that it was fitted on, whatever the scales of the two."""
    logits, labels = samples.sample(2)
    noise = np.random.default_rng(3).normal(size=(2, *logits.shape))
    deep, wide = 5.0 * (logits + noise[0]), logits + noise[1]
    share = fit_share(deep, wide, labels)
    mixed = _loss(share * wide + (1 - share) * deep, labels)
    assert mixed < min(_loss(deep, labels), _loss(wide, labels))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_logits_are_mixed_by_the_share(share: float) -> None:
    """The ends are the parts themselves, bit for bit."""
    mixture = Mixture(torch.zeros(3))
    mixture.share.fill_(share)
    deep, wide = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(mixture(deep, wide), share * wide + (1 - share) * deep)


def test_the_linear_model_starts_at_the_classes_shares() -> None:
    """A class without a row stays finite."""
    mixture = Mixture.start_at(torch.tensor([0.75, 0.25, 0.0]))
    assert torch.softmax(mixture.bias, dim=0).tolist() == pytest.approx([0.75, 0.25, 0.0], abs=1e-5)
