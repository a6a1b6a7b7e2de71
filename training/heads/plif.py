"""A logit → its value on a learned, rising curve of straight pieces."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RANGE = 16.0
"""The pieces lie within ± this; beyond it the first and the last go on."""


class Plif(nn.Module):
    """Ganea, Gelly, Bécigneul & Severyn 2019, "Breaking the softmax bottleneck via learnable monotonic pointwise
    non-linearities": pieces of equal length whose slopes, exp of what is learned, are above 0. It starts as z → z.

    Shape: float of any shape → the same shape.

    Args:
        pieces: how many.
    """

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.log_slopes = nn.Parameter(torch.zeros(pieces))

    def forward(self, logits: Tensor) -> Tensor:
        pieces = len(self.log_slopes)
        length, slopes = 2.0 * RANGE / pieces, self.log_slopes.exp()
        # Clamped as floats: an integer cannot hold any float.
        piece = ((logits + RANGE) / length).clamp(0.0, pieces - 1.0).floor()
        heights = length * (slopes.cumsum(dim=0) - slopes) - RANGE  # of the curve where each piece starts
        places = piece.to(torch.int64).flatten()
        slope, height = (one.index_select(0, places).view_as(logits) for one in (slopes, heights))
        return height + slope * (logits - (piece * length - RANGE))
