"""Random affine and elastic changes of a batch of training images, all rows at once."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.config import Augmentation


def is_active(settings: Augmentation) -> bool:
    return any(value > 0 for name, value in settings if name != "elastic_smoothing")


def augment(images: Tensor, settings: Augmentation, generator: Generator) -> Tensor:
    """Rotate, shear, scale, shift and bend each image by its own random amount (bilinear, zeros outside).

    Shape:
        - images: uint8 or float32 [N, height, width] or [N, height, width, 3]
        - Output: float32, the same shape
    """
    draws = torch.rand(5, len(images), generator=generator) * 2.0 - 1.0
    matrices = affine(
        angle=draws[0] * math.radians(settings.rotation_degrees),
        scale=1.0 + draws[1] * settings.scale,
        shear=draws[2] * math.radians(settings.shear_degrees),
        shift_x=draws[3] * settings.shift,
        shift_y=draws[4] * settings.shift,
    )
    return warp(images, matrices, _bend(images, settings, generator) if settings.elastic else None)


def affine(*, angle: Tensor, scale: Tensor, shear: Tensor, shift_x: Tensor, shift_y: Tensor) -> Tensor:
    """For each pixel of the result, where in the source it comes from: float32 [N, 2, 3].

    Args:
        angle: radians [N]; a positive one turns the picture counter-clockwise.
        scale: factor [N]; above 1 the picture grows.
        shear: radians [N].
        shift_x: share of the width [N]; a positive one moves the picture to the left.
        shift_y: share of the height [N]; a positive one moves the picture up.
    """
    slope = torch.tan(shear)
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    first = torch.stack([cosine, cosine * slope - sine, 2.0 * shift_x], dim=1)
    second = torch.stack([sine, sine * slope + cosine, 2.0 * shift_y], dim=1)
    return torch.stack([first, second], dim=1)


def displacements(
    count: int, *, height: int, width: int, deviation: float, smoothing: float, generator: Generator
) -> Tensor:
    """Smooth random fields of the elastic distortion of Simard, Steinkraus and Platt 2003.

    White noise is smoothed by a Gaussian. There its strength depends on the Gaussian's width too; here the result has
    the same standard deviation everywhere, at the border as in the middle, whatever the smoothing.

    Args:
        count: how many images, N.
        height: pixels.
        width: pixels.
        deviation: standard deviation of a displacement in pixels.
        smoothing: standard deviation of the Gaussian in pixels.
        generator: decides all of it.

    Shape:
        - Output: float32 [N, height, width, 2], x then y, in pixels
    """
    rows, columns = _gaussians(height, smoothing), _gaussians(width, smoothing)
    noise = torch.randn(count, 2, rows.shape[1], columns.shape[1], generator=generator)
    return (deviation * (rows @ noise @ columns.T)).permute(0, 2, 3, 1)


def _gaussians(size: int, deviation: float) -> Tensor:
    """float32 [size, size + 2 · margin]: how much of each noise value goes into each pixel; each row of length 1."""
    margin = math.ceil(3.0 * deviation)
    distances = torch.arange(size + 2 * margin) - margin - torch.arange(size)[:, None]
    return functional.normalize(torch.exp(-0.5 * (distances / deviation) ** 2), dim=1)


def _bend(images: Tensor, settings: Augmentation, generator: Generator) -> Tensor:
    """float32 [N, height, width, 2]: what elastic distortion adds to the grid, whose axes are 2 long."""
    height, width = images.shape[1:3]
    fields = displacements(
        len(images),
        height=height,
        width=width,
        deviation=settings.elastic * width,
        smoothing=settings.elastic_smoothing * width,
        generator=generator,
    )
    return fields * torch.tensor([2.0 / width, 2.0 / height])


def warp(images: Tensor, matrices: Tensor, bend: Tensor | None = None) -> Tensor:
    """Each image by its own matrix of `affine`, then bent by its own field.

    Shape:
        - images: [N, height, width] or [N, height, width, 3]
        - matrices: float32 [N, 2, 3]
        - bend: float32 [N, height, width, 2], where the image is 2 wide and 2 high
        - Output: float32, the shape of the images
    """
    gray = images.dim() == 3
    planes = images.unsqueeze(1) if gray else images.permute(0, 3, 1, 2)
    grid = _grid(matrices, height=planes.shape[2], width=planes.shape[3])
    grid = grid if bend is None else grid + bend
    moved = functional.grid_sample(planes.to(torch.float32), grid, align_corners=False)
    return moved.squeeze(1) if gray else moved.permute(0, 2, 3, 1)


def _grid(matrices: Tensor, *, height: int, width: int) -> Tensor:
    """float32 [N, height, width, 2]: what torch's affine_grid gives, by broadcasting, in a fraction of its time.

    Both axes run from -1 to 1, so where height and width differ, a turn must stretch what passes from one to the other.
    """
    x = (torch.arange(width, dtype=torch.float32) * 2.0 + 1.0) / width - 1.0
    y = ((torch.arange(height, dtype=torch.float32) * 2.0 + 1.0) / height - 1.0)[:, None]
    parts = matrices[:, :, :, None, None]
    grid = torch.empty(len(matrices), height, width, 2)
    grid[..., 0] = parts[:, 0, 0] * x + parts[:, 0, 1] * (y * (height / width)) + parts[:, 0, 2]
    grid[..., 1] = parts[:, 1, 0] * (x * (width / height)) + parts[:, 1, 1] * y + parts[:, 1, 2]
    return grid
