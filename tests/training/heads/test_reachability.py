"""Which classes can never win, against cases where geometry knows."""

from __future__ import annotations

import numpy as np
import pytest

from training.heads import reachability


def test_a_point_inside_the_others_hull_can_never_win() -> None:
    """Without biases the reachable classes are the corners of the hull; the middle is not one."""
    weight = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.1, 0.1]], dtype=np.float32)
    bias = np.zeros(5, dtype=np.float32)
    found = [reachability.is_reachable(weight, bias, label, low=-1.0, high=1.0) for label in range(5)]
    assert found == [True, True, True, True, False]


def test_a_bias_can_bring_the_middle_back_and_bury_a_corner() -> None:
    """The same classes: what counts is vector and bias together."""
    weight = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.1, 0.1]], dtype=np.float32)
    assert reachability.is_reachable(weight, np.array([0, 0, 0, 0, 0.5], dtype=np.float32), 4, low=-1.0, high=1.0)
    buried = np.array([-3, 0, 0, 0, 0], dtype=np.float32)
    assert not reachability.is_reachable(weight, buried, 0, low=-1.0, high=1.0)
    assert reachability.is_reachable(weight, buried, 0, low=-10.0, high=10.0)


def test_behind_values_that_are_never_negative_more_classes_are_lost() -> None:
    """The same vectors and prior-like biases, seen from ReLU's side and from tanh's."""
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(2000, 4)).astype(np.float32)
    bias = np.log(1.0 / np.arange(1, 2001)).astype(np.float32)
    signed = reachability.sample(weight, bias, low=-4.0, high=4.0)
    positive = reachability.sample(weight, bias, low=0.0, high=4.0)
    assert positive.found > signed.found


def test_constraint_generation_finds_what_all_constraints_at_once_find() -> None:
    """A class is reachable exactly when random directions or the one program over all rivals say so."""
    generator = np.random.default_rng(1)
    weight = generator.normal(size=(600, 3)).astype(np.float32)
    bias = generator.normal(size=600).astype(np.float32)
    hidden = generator.uniform(-1.0, 1.0, size=(20_000, 3)).astype(np.float32)
    winners = set(np.unique((hidden @ weight.T + bias).argmax(axis=1)).tolist())
    for label in range(0, 600, 15):
        rivals = np.setdiff1d(np.arange(600), [label])
        margin, _ = reachability._lead(weight, bias, label, rivals, low=-1.0, high=1.0)
        found = reachability.is_reachable(weight, bias, label, low=-1.0, high=1.0)
        assert found == (margin > reachability._MARGIN)
        assert found or label not in winners


def test_a_sample_bounds_the_share_of_all() -> None:
    """With none found among 80, more than 3.7 % would be unlikely; few classes are all tested."""
    weight = np.eye(3, dtype=np.float32)
    found = reachability.sample(weight, np.zeros(3, dtype=np.float32))
    assert (found.tested, found.found) == (3, 0)
    many = np.vstack([np.eye(40), -np.eye(40)]).astype(np.float32)
    assert reachability.sample(many, np.zeros(80, dtype=np.float32)).upper == pytest.approx(0.037, abs=0.001)
