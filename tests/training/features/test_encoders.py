"""Which encoder takes which inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clipmax.inputs import CategoryInput, ImageInput, NumberInput
from training import config
from training.data.dataset import Column, Split
from training.features import encoders
from training.features.images import ImageEncoder
from training.features.rows import RowEncoder


def test_numbers_and_categories_share_one_encoder_wherever_they_stand() -> None:
    """Each image has one of its own."""
    inputs = (
        CategoryInput(name="a", categories=("x",)),
        ImageInput(name="i", shape=(2, 2)),
        NumberInput(name="b", minimum=0, maximum=1),
        ImageInput(name="j", shape=(3, 1)),
    )
    columns: dict[str, Column] = {
        "a": np.full((4, 1), 2, dtype=np.int32),
        "i": np.zeros((4, 2, 2), dtype=np.uint8),
        "b": np.arange(4, dtype=np.float32)[:, None],
        "j": np.zeros((4, 3, 1), dtype=np.uint8),
    }
    run = config.Run.model_validate({"name": "r", "data": {"source": "npz", "file": Path("none")}})
    placed = encoders.build(inputs, Split(columns, np.array([0, 1, 0, 1])), run, 2)
    assert [type(each.encoder) for each in placed] == [RowEncoder, ImageEncoder, ImageEncoder]
    assert [each.places for each in placed] == [(0, 2), (1,), (3,)]
    assert encoders.width(placed) == (3 + 32 + 2) + 4 + 3
