"""Rows and their classes → a few directions that stand for each class."""

from __future__ import annotations

import torch
from torch import Tensor

MOST = 10
_MOST_OF_ALL = 1024
_ROWS_A_PROTOTYPE = 5
_ITERATIONS = 20
_SMALLEST_NORM = 1e-6


def prototypes(rows: Tensor, labels: Tensor, *, most: int = MOST) -> Tensor:
    """Directions of each class, by spherical k-means (Dhillon & Modha 2001): float32 [P, width], of length 1.

    Always the same for the same rows.

    Args:
        rows: float32 [N, width].
        labels: int64 [N].
        most: of a class; fewer for one of less than five rows a prototype, and one each where there are many classes.
    """
    classes = torch.bincount(labels).nonzero().squeeze(1)
    most = max(1, min(most, _MOST_OF_ALL // len(classes)))
    directions = normalized(rows)
    generator = torch.Generator().manual_seed(0)
    return torch.cat([_k_means(directions[labels == label], most, generator) for label in classes])


def normalized(rows: Tensor) -> Tensor:
    """With length 1; 0 stays 0. A clamp, because the exporter deletes a tiny added number."""
    return rows / rows.square().sum(dim=1, keepdim=True).sqrt().clamp(min=_SMALLEST_NORM)


def _k_means(rows: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """float32 [n, width] of length 1 → [k, width]; a centre that no row is nearest to stays where it was."""
    centres = _first(rows, max(1, min(most, len(rows) // _ROWS_A_PROTOTYPE)), generator)
    for _ in range(_ITERATIONS):
        nearest = (rows @ centres.T).argmax(dim=1)
        sums = torch.zeros_like(centres).index_add(0, nearest, rows)
        moved = torch.where(sums.norm(dim=1, keepdim=True) > _SMALLEST_NORM, normalized(sums), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def _first(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random rows, the likelier the farther from those chosen before (k-means++, Arthur & Vassilvitskii 2007)."""
    chosen = [rows[int(torch.randint(len(rows), (), generator=generator))]]
    nearest = rows @ chosen[0]
    for _ in range(count - 1):
        distances = (1.0 - nearest).clamp(min=1e-6)  # so that even equal rows can be drawn
        chosen.append(rows[int(torch.multinomial(distances, 1, generator=generator))])
        nearest = torch.maximum(nearest, rows @ chosen[-1])
    return torch.stack(chosen)
