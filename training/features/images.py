"""Pixels as a client has them → features, inside the graph."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from clipmax.inputs import ImageInput
from training.config import Images
from training.data.dataset import Column


class ImageEncoder(nn.Module):
    """Clip to the schema's range, subtract the mean, divide by the deviation, flatten.

    Clipping stands in the graph so that an absurd pixel (1e38) cannot leave the range that training saw.

    Shape:
        - Input: uint8 or float32 [N, height, width] or [N, height, width, 3]
        - Output: float32 [N, width of the features]
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, schema: ImageInput, *, mean: float, deviation: float) -> None:
        super().__init__()
        self.minimum, self.maximum = schema.minimum, schema.maximum
        self._holds_all_bytes = schema.minimum <= 0 and schema.maximum >= 255
        self.width = schema.size
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float32))

    @classmethod
    def fit(cls, schema: ImageInput, images: Column, settings: Images) -> ImageEncoder:
        """Learn mean and deviation from the training split (`standard`), or scale to 0..1 (`unit`)."""
        span = schema.maximum - schema.minimum or 1.0
        if settings.scaling == "unit":
            return cls(schema, mean=schema.minimum, deviation=span)
        mean, deviation = _moments(images)
        return cls(schema, mean=mean, deviation=deviation or span)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.to(torch.float32, copy=True)  # so the rest may work in place
        if images.dtype != torch.uint8 or not self._holds_all_bytes:
            pixels.clamp_(self.minimum, self.maximum)
        return pixels.sub_(self.mean).div_(self.deviation).flatten(1)


def _moments(images: Column) -> tuple[float, float]:
    """Mean and standard deviation over all pixels, exact for bytes (by counting) without a float copy."""
    if images.dtype != np.uint8:
        return float(images.mean(dtype=np.float64)), float(images.std(dtype=np.float64))
    counts = np.bincount(images.reshape(-1), minlength=256) / images.size
    values = np.arange(256)
    mean = float(counts @ values)
    return mean, float(np.sqrt(counts @ (values - mean) ** 2))
