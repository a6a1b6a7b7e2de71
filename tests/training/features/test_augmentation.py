"""What a random change of an image does, and that the generator alone decides it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from training.config import Augmentation
from training.features.augmentation import affine, augment, displacements, is_active, warp

EVERYTHING = Augmentation(rotation_degrees=20, shift=0.1, scale=0.2, shear_degrees=10)


def _images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def _matrix(*, angle: float = 0.0, scale: float = 1.0, shear: float = 0.0, x: float = 0.0, y: float = 0.0) -> Tensor:
    values = {"angle": angle, "scale": scale, "shear": shear, "shift_x": x, "shift_y": y}
    return affine(**{name: torch.tensor([value]) for name, value in values.items()})


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("quarters", [1, 2, 3, -1])
def test_a_quarter_turn_is_torchs_rot90(size: int, quarters: int) -> None:
    """Counter-clockwise, exact up to rounding, on odd and even sizes."""
    image = _images(1, size, size)
    turned = warp(image, _matrix(angle=quarters * math.pi / 2))
    torch.testing.assert_close(turned, torch.rot90(image, quarters, dims=(1, 2)).float(), atol=1e-2, rtol=0)


def test_a_quarter_turn_of_a_wide_image_keeps_its_pixels_square() -> None:
    """What still fits into the frame is the turned picture, not a stretched one."""
    image = _images(1, 5, 9)
    turned = warp(image, _matrix(angle=math.pi / 2))
    expected = torch.rot90(image[:, :, 2:7], 1, dims=(1, 2)).float()
    torch.testing.assert_close(turned[:, :, 2:7], expected, atol=1e-2, rtol=0)
    assert turned[:, :, :2].abs().max() < 1e-2


@pytest.mark.parametrize(("x", "y"), [(2, 0), (-3, 0), (0, 1), (1, -2)])
def test_a_shift_moves_whole_pixels(x: int, y: int) -> None:
    """By its share of width and height; zeros come in."""
    image = _images(1, 8, 10)
    moved = warp(image, _matrix(x=x / 10, y=y / 8))
    expected = torch.roll(image, (-y, -x), dims=(1, 2)).float()
    rows = slice(max(-y, 0), 8 - max(y, 0))
    columns = slice(max(-x, 0), 10 - max(x, 0))
    torch.testing.assert_close(moved[:, rows, columns], expected[:, rows, columns], atol=1e-2, rtol=0)
    outside = torch.ones(8, 10, dtype=torch.bool)
    outside[rows, columns] = False
    assert moved[0][outside].abs().max() < 1e-2


def test_scale_two_shows_the_middle() -> None:
    """Each pixel of the middle covers four."""
    image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    image[:, 3:5, 3:5] = 200
    assert warp(image, _matrix(scale=2.0)).sum() == pytest.approx(4 * 4 * 200, rel=1e-5)


def test_shear_moves_lines_and_keeps_their_order() -> None:
    """The middle line of an odd size stays; the others move by their distance from it."""
    image = _images(1, 7, 7)
    sheared = warp(image, _matrix(shear=math.pi / 4))
    vertical = torch.stack([image[0, row, 3 + row - 3] for row in range(7)]).float()
    torch.testing.assert_close(sheared[0, :, 3], vertical, atol=1e-2, rtol=0)


def test_colours_move_together() -> None:
    """Each plane of an rgb image as the gray image would."""
    image = _images(4, 9, 9, 3)
    changed = augment(image, EVERYTHING, torch.Generator().manual_seed(5))
    for plane in range(3):
        gray = augment(image[..., plane], EVERYTHING, torch.Generator().manual_seed(5))
        assert torch.equal(changed[..., plane], gray)


def test_the_generator_decides_everything() -> None:
    """The same state, the same images; the global generator is neither read nor moved."""
    images = _images(16, 8, 8)
    torch.manual_seed(1)
    first = augment(images, EVERYTHING, torch.Generator().manual_seed(5))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(first, augment(images, EVERYTHING, torch.Generator().manual_seed(5)))
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, augment(images, EVERYTHING, torch.Generator().manual_seed(6)))


def test_every_image_has_its_own_amounts() -> None:
    """Sixteen times the same picture come out as sixteen pictures."""
    images = _images(1, 8, 8).repeat(16, 1, 1)
    changed = augment(images, EVERYTHING, torch.Generator().manual_seed(5))
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 16


def test_amounts_of_zero_change_nothing_and_need_no_call() -> None:
    """The loop asks `is_active` first."""
    assert not is_active(Augmentation())
    images = _images(4, 8, 8)
    unchanged = augment(images, Augmentation(), torch.Generator().manual_seed(5))
    torch.testing.assert_close(unchanged, images.float(), atol=1e-2, rtol=0)


@pytest.mark.parametrize("field", sorted({*Augmentation.model_fields} - {"elastic_smoothing"}))
def test_any_amount_switches_it_on(field: str) -> None:
    """Each alone is enough."""
    assert is_active(Augmentation.model_validate({field: 0.5}))


def test_amounts_stay_in_their_bounds() -> None:
    """Of ten thousand turns and shifts none is larger than asked for, and both signs occur."""
    generator = torch.Generator().manual_seed(0)
    square = torch.zeros(10_000, 21, 21, dtype=torch.uint8)
    square[:, 10, 10] = 255
    moved = augment(square, Augmentation(shift=2 / 21), generator)
    places = moved.flatten(1).argmax(dim=1)
    rows, columns = places // 21 - 10, places % 21 - 10
    for distance in (rows, columns):
        assert set(distance.tolist()) == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize("smoothing", [1.0, 4.0])
def test_elastic_displacements_have_the_same_strength_everywhere(smoothing: float) -> None:
    """The deviation that was asked for, at the border as in the middle, whatever the smoothing."""
    generator = torch.Generator().manual_seed(0)
    fields = displacements(2000, height=12, width=20, deviation=1.5, smoothing=smoothing, generator=generator)
    assert fields.shape == (2000, 12, 20, 2)
    torch.testing.assert_close(fields.std(dim=0), torch.full((12, 20, 2), 1.5), atol=0.15, rtol=0)


def test_elastic_displacements_of_neighbours_go_together() -> None:
    """By the correlation of a smoothed noise at distance d, exp(-d²/4σ²); x and y are independent."""
    generator = torch.Generator().manual_seed(1)
    fields = displacements(4000, height=8, width=8, deviation=1.0, smoothing=2.0, generator=generator)
    for distance in (1, 2, 5):
        pair = torch.stack([fields[:, 4, 1, 0], fields[:, 4, 1 + distance, 0]])
        assert float(torch.corrcoef(pair)[0, 1]) == pytest.approx(math.exp(-(distance**2) / 16), abs=0.06)
    assert abs(float(torch.corrcoef(torch.stack([fields[:, 4, 4, 0], fields[:, 4, 4, 1]]))[0, 1])) < 0.06


@pytest.mark.parametrize("shape", [(3, 10, 14), (3, 10, 14, 3)])
def test_elastic_bending_follows_the_generator_alone(shape: tuple[int, ...]) -> None:
    """The same seed the same picture; another seed, and another image of the batch, another."""
    images = _images(1, *shape[1:]).expand(*shape)
    settings = Augmentation(elastic=0.1)
    first, again, other = (augment(images, settings, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_without_elastic_bending_nothing_else_changes() -> None:
    """The draws of the other changes come first."""
    images = _images(4, 8, 8)
    plain, smoothed = (
        augment(images, settings, torch.Generator().manual_seed(0))
        for settings in (EVERYTHING, EVERYTHING.model_copy(update={"elastic_smoothing": 0.5}))
    )
    assert torch.equal(plain, smoothed)
    assert not is_active(Augmentation(elastic_smoothing=0.5))
    assert is_active(Augmentation(elastic=0.01))
