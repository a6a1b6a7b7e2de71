"""Rows that try a graph."""

from __future__ import annotations

import math

import numpy as np

from clipmax.inputs import CategoryInput, NumberInput, tensors
from training import probes
from training.data.dataset import Column, Dataset, Split

TIME = NumberInput(name="t", minimum=1_700_000_000.0, maximum=1_700_000_999.0, origin=1_700_000_500.0)
WORD = CategoryInput(name="w", categories=("a", "b"))


def _dataset() -> Dataset:
    columns: dict[str, Column] = {
        "t": TIME.cast(np.array([1_700_000_007.0, math.nan, 1_700_000_123.0])),
        "w": np.array([[2], [1], [0]], dtype=np.int32),
    }
    split = Split(columns, np.array([0, 1, 1]))
    return Dataset((TIME, WORD), ("x", "y"), split, split, split, {})


def test_instances_are_what_a_client_would_send() -> None:
    """Numbers with their origin, words, null for missing; one row a class, then every end."""
    found = probes.instances(_dataset())
    assert found[:2] == [{"t": 1_700_000_007.0, "w": "a"}, {"t": None, "w": None}]
    assert {"t": TIME.minimum, "w": "a"} in found
    assert {"t": 3e38, "w": "b"} in found
    assert {"t": None, "w": "a\u200b"} in found
    assert len(found) == len({str(instance) for instance in found})


def test_instances_and_test_rows_become_the_same_tensors() -> None:
    """The way of a client and the way of training lead to the same bits."""
    dataset = _dataset()
    sent = tensors(dataset.inputs, probes.instances(dataset)[:1])
    kept = dict(probes.columns(dataset, 1))["test rows"]
    assert all(np.array_equal(sent[name], kept[name]) for name in sent)


def test_noise_holds_what_no_client_can_send() -> None:
    """Codes that do not exist and infinities."""
    noise = dict(probes.columns(_dataset(), 512))["noise"]
    assert {-1, 0, 1, 2, 3, 4, 10_000} <= set(noise["w"][:, 0].tolist())
    assert np.isinf(noise["t"]).any()
    assert np.isnan(noise["t"]).any()
