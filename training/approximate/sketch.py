"""A last layer and hidden values → a sketch of it: 8-bit integers in few dimensions, that rank classes nearly alike.

Hidden values do not fill all their directions evenly, so of the scores h·W + b few directions of h make the most. These
are the leading singular vectors of W in the metric of the rows' covariance. The last dimension is the bias, met by a
constant. Integers take a quarter of the memory that is read for a row, and that is what the time goes into.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.approximate.cells import Floats
from training.approximate.layer import Layer

HIGHEST = 63
"""Of the classes' integers. Two products of 63 · 255 fit into the 16 bits in which some processors add them up."""

_RANGE = 4.0
"""Standard deviations of a row's coordinate that its 8 bits hold; what lies outside is cut."""

_LEAST_VARIANCE = 1e-6
"""Of a direction of the rows, as a part of the largest: below it, it is noise."""

_LEFT_OUT = 1.0
"""Times the variance that a class's score has in the directions left out, added to its bias: it may be so much more.
Half of it is the logarithm of the mean of exp of it. The whole found more of the top 5 on the one task measured."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """score ≈ step · (integers(h) · weightᵀ) + shift.

    Attributes:
        directions: float32 [D, H], and `offset` float32 [D]: from hidden values to coordinates.
        weight: int8 [K, D], between -63 and 63.
        step: one unit of the product of integers, in nats.
        shift: the bias that all classes have in common.
    """

    directions: Floats
    offset: Floats
    weight: npt.NDArray[np.int8]
    step: float
    shift: float

    unit = np.float32(_RANGE / 127)
    """Of a coordinate."""

    def integers(self, hidden: Floats) -> Floats:
        """Whole numbers between -128 and 127, float32 [N, D]; the graph does the same."""
        found = np.round((hidden @ self.directions.T + self.offset) / self.unit)
        return np.asarray(np.clip(found, -128, 127), dtype=np.float32)

    def scores(self, hidden: Floats) -> Floats:
        """float32 [N, K]; whole numbers below 2²⁴ are exact in it."""
        product = self.integers(hidden) @ self.weight.astype(np.float32).T
        return np.asarray(product * np.float32(self.step) + np.float32(self.shift))


def make(layer: Layer, hidden: Floats, dimensions: int, *, seed: int = 0) -> Sketch:
    """Singular value decomposition, then rounding.

    Args:
        layer: H directions, K classes.
        hidden: float32 [N, H], of rows like those that will come.
        dimensions: D; fewer than 2 and more than H + 1 are not taken.
        seed: of the rotation that gives all coordinates about the same share, so that none wastes its bits.
    """
    mean = hidden.mean(axis=0)
    root, inverse = _roots(hidden - mean)
    points = layer.weight @ root
    kept = min(max(dimensions - 1, 1), len(mean))
    basis = np.linalg.eigh(points.T @ points)[1][:, ::-1][:, :kept]
    basis = basis @ np.linalg.qr(np.random.default_rng(seed).normal(size=(kept, kept)))[0].astype(np.float32)
    coordinates = points @ basis
    left_out = np.einsum("kh,kh->k", points, points) - np.einsum("kd,kd->k", coordinates, coordinates)
    bias = layer.bias + layer.weight @ mean + np.float32(_LEFT_OUT) * np.maximum(left_out, 0)
    shift = bias.mean()
    values = np.concatenate([coordinates, ((bias - shift) / np.float32(_RANGE))[:, None]], axis=1)
    scale = max(float(np.abs(values).max()), float(np.finfo(np.float32).tiny)) / HIGHEST
    directions = basis.T @ inverse
    return Sketch(
        np.concatenate([directions, np.zeros((1, len(mean)), dtype=np.float32)]),
        np.concatenate([-directions @ mean, np.array([_RANGE], dtype=np.float32)]),
        np.round(values / np.float32(scale)).astype(np.int8),
        scale * float(Sketch.unit),
        float(shift),
    )


def _roots(centred: Floats) -> tuple[Floats, Floats]:
    """The square root of the covariance, and the inverse of that: float32 [H, H] each."""
    values, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred / len(centred))
    lengths = np.sqrt(np.maximum(values, max(_LEAST_VARIANCE * values[-1], np.finfo(np.float32).tiny)))
    root, inverse = ((vectors * one) @ vectors.T for one in (lengths, 1 / lengths))
    return root.astype(np.float32), inverse.astype(np.float32)
