"""What a customer bought is counted, faded and written down as a client would send it, all from before the day."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from clipmax import history
from tests.training.purchases import source, write
from training.data import baskets
from training.next_basket import bought


def test_counts_and_histories_of_a_small_file(tmp_path: Path) -> None:
    """Ann has cup and tea of 2 January and tea of 10 February; mug comes after. An item counts once a basket."""
    events = baskets.read(source(write(tmp_path)))
    assert events.items == ("cup", "mug", "tea")
    found = bought.of_rows(events.test, slice(None), 3)
    assert found.times.tolist() == [[1, 0, 2], [1, 0, 1]]
    faded = math.exp(-59 / bought.DECAY_DAYS), math.exp(-20 / bought.DECAY_DAYS)
    np.testing.assert_allclose(found.lately[0], [faded[0], 0.0, sum(faded)], rtol=1e-6)
    ann, bob = bought.histories(events.test, events.items)
    assert (ann.items, ann.days_ago) == (["cup", "tea", "tea"], [59.0, 59.0, 20.0])
    assert bob.items == ["tea", "cup"]


def test_the_pairs_of_a_history_hold_what_was_counted(tmp_path: Path) -> None:
    """So that the graph can count the same."""
    events = baskets.read(source(write(tmp_path)))
    codes = {item: code for code, item in enumerate(events.items, start=history.FIRST_ITEM_CODE)}
    pairs = history.pairs(list(bought.histories(events.test, events.items)), codes)
    places = pairs[:, :, 0].astype(np.int64)
    counted = np.stack([np.bincount(row, minlength=5)[history.FIRST_ITEM_CODE :] for row in places])
    np.testing.assert_array_equal(counted, bought.of_rows(events.test, slice(None), 3).times)


def test_a_chunk_is_the_same_as_its_rows_of_all(tmp_path: Path) -> None:
    """Customers are taken in their order."""
    events = baskets.read(source(write(tmp_path)))
    whole = bought.of_rows(events.test, slice(None), 3)
    np.testing.assert_array_equal(bought.of_rows(events.test, slice(1, 2), 3).times, whole.times[1:])
    (rows, chunk), *others = bought.chunks(events.test, 3)
    assert not others
    np.testing.assert_array_equal(chunk.times, whole.times[rows])
