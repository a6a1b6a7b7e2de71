"""Pixels → features: clipped to the range that training saw, scaled by what the training split taught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipmax.inputs import ImageInput
from tests.training import tiny
from training import run
from training.config import Images
from training.data import sources
from training.features.images import ImageEncoder

SCHEMA = ImageInput(name="image", shape=(8, 8))


def _encoder(scaling: str = "standard") -> ImageEncoder:
    return ImageEncoder.fit(SCHEMA, tiny.arrays()[0], Images.model_validate({"scaling": scaling}))


def test_standard_features_have_mean_zero_and_deviation_one() -> None:
    """Over all pixels of the rows it was fitted on."""
    features = _encoder()(torch.from_numpy(tiny.arrays()[0]))
    assert features.shape == (tiny.ROWS, 64)
    assert features.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert features.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)


def test_unit_features_are_pixels_over_255() -> None:
    """Whatever the rows hold."""
    images = torch.from_numpy(tiny.arrays()[0])
    torch.testing.assert_close(_encoder("unit")(images), images.flatten(1) / 255)


def test_moments_by_counting_are_numpys() -> None:
    """Bytes and the same numbers as floats teach the same."""
    images = tiny.arrays()[0]
    encoder = _encoder()
    assert encoder.mean.item() == pytest.approx(images.mean())
    assert encoder.deviation.item() == pytest.approx(images.std())
    floats = ImageEncoder.fit(SCHEMA, images.astype(np.float32), Images())
    torch.testing.assert_close((floats.mean, floats.deviation), (encoder.mean, encoder.deviation))


@given(
    st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=64, max_size=64),
    st.sampled_from(["unit", "standard"]),
)
def test_absurd_pixels_give_the_features_of_the_nearest_in_range(pixels: list[float], scaling: str) -> None:
    """Finite for every finite pixel."""
    images = torch.tensor(pixels).reshape(1, 8, 8)
    encoder = _encoder(scaling)
    assert torch.equal(encoder(images), encoder(images.clamp(0, 255)))
    assert torch.isfinite(encoder(images)).all()


def test_bytes_and_floats_give_the_same_features() -> None:
    """So it does not matter which of the two a client sends."""
    images = torch.from_numpy(tiny.arrays()[0])
    assert torch.equal(_encoder()(images), _encoder()(images.float()))


def test_bytes_beyond_the_schemas_range_are_clipped() -> None:
    """Only where every byte lies within it is there nothing to clip."""
    encoder = ImageEncoder(SCHEMA.model_copy(update={"minimum": 10.0, "maximum": 200.0}), mean=10.0, deviation=190.0)
    images = torch.arange(256, dtype=torch.uint8).reshape(4, 8, 8)
    assert torch.equal(encoder(images), encoder(images.float()))
    assert encoder(images).amax() == 1.0


def test_images_of_one_value_are_not_divided_by_zero() -> None:
    """Their features are zero, and another image's are finite."""
    encoder = ImageEncoder.fit(SCHEMA, np.full((5, 8, 8), 7, dtype=np.uint8), Images())
    assert not encoder(torch.full((1, 8, 8), 7)).any()
    assert torch.isfinite(encoder(torch.full((1, 8, 8), 255))).all()


def test_test_and_validation_rows_teach_the_encoder_nothing(tmp_path: Path) -> None:
    """Other test images, the same encoder; it knows the training split alone."""
    settings, before = tiny.dataset(tmp_path)
    (tmp_path / "test-images").write_bytes(tiny.idx_bytes(255 - tiny.arrays()[2]))
    after = sources.read(settings.data)
    assert before.fingerprint() != after.fingerprint()
    states = [run.start(settings, dataset).model.state_dict() for dataset in (before, after)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    (mean,) = (value for name, value in states[0].items() if name.endswith("mean"))
    assert mean.item() == pytest.approx(before.train.columns["image"].mean(), rel=1e-6)
