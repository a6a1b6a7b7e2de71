"""Golden examples and what a session gives for them → whether it is the graph that training proved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmax.manifest import Golden, Manifest, TopGolden
from clipmax.refusal import Refusal
from service.outputs import Full, Outputs, Top

TOLERANCE = 1e-5
"""Largest difference of a probability from its golden one, and of a row's sum from 1."""

RELATIVE = 1e-3
"""The same of one among very many classes, and of the partition sum: there a probability may itself be below 1e-5."""

SUM_TOLERANCE = 1e-4
"""By how much the most probable of very many classes may exceed 1 together."""

Numbers = npt.NDArray[np.floating[Any]]


def check(outputs: Outputs, manifest: Manifest, path: Path) -> None:
    """Compare what the golden instances gave.

    Raises:
        Refusal: not finite, another sum, or a difference.
    """
    if not outputs.is_finite:
        raise Refusal(path, "golden", expected="finite outputs", found="NaN or infinity")
    if isinstance(outputs, Top):
        _check_top(outputs, manifest, path)
    else:
        _check_full(outputs, manifest, path)


def _check_full(outputs: Full, manifest: Manifest, path: Path) -> None:
    expected = np.array([one.probabilities for one in manifest.golden if isinstance(one, Golden)])
    _check_close("golden", np.abs(outputs.probabilities - expected).max(axis=1), path)
    sums = outputs.probabilities.sum(axis=1, dtype=np.float64)
    _check_close("golden sums", np.abs(sums - 1), path)


def _check_close(field: str, differences: Numbers, path: Path) -> None:
    row = int(differences.argmax())
    if differences[row] > TOLERANCE:
        raise Refusal(
            path,
            f"{field}[{row}]",
            expected=f"probabilities within {TOLERANCE:g}",
            found=f"a difference of {differences[row]:.3g}",
        )


def _check_top(outputs: Top, manifest: Manifest, path: Path) -> None:
    examples = [one for one in manifest.golden if isinstance(one, TopGolden)]
    expected = Top.joined([_outputs(one) for one in examples])
    check_classes(outputs, manifest, path)
    found, wanted = outputs.top_probabilities, expected.top_probabilities
    _check_close("golden", np.abs(found - wanted).max(axis=1), path)
    relative = np.abs(found - wanted) / np.maximum(wanted, np.finfo(np.float32).tiny)
    _check_relative("golden", relative.max(axis=1), path)
    # Of the logarithm of a sum, the difference is the relative difference of the sum.
    _check_relative("golden log_partition", np.abs(outputs.log_partition - expected.log_partition), path)
    is_other = (outputs.top_indices != expected.top_indices) & ~_is_tied(wanted)
    if is_other.any():
        row = int(is_other.any(axis=1).argmax())
        raise Refusal(path, f"golden[{row}].top_indices", expected="the same classes", found="another one")


def check_classes(outputs: Top, manifest: Manifest, path: Path) -> None:
    """Whether the rows name classes that there are, each once, most probable first, and at most 1 together."""
    indices, probabilities = np.sort(outputs.top_indices, axis=1), outputs.top_probabilities
    if indices.min() < 0 or indices.max() >= manifest.classes:
        raise Refusal(path, "golden.top_indices", expected=f"0 to {manifest.classes - 1}", found="another class")
    if (np.diff(indices, axis=1) == 0).any():
        raise Refusal(path, "golden.top_indices", expected="each class once", found="one twice")
    if (np.diff(probabilities, axis=1) > 0).any() or probabilities.min() < 0:
        raise Refusal(path, "golden.top_probabilities", expected="descending from 0 up", found="another order")
    excess = float(probabilities.sum(axis=1, dtype=np.float64).max()) - 1
    if excess > SUM_TOLERANCE:
        expected = f"a sum of at most 1 within {SUM_TOLERANCE:g}"
        raise Refusal(path, "golden sums", expected=expected, found=f"{excess:.3g} more")
    if manifest.answered == manifest.classes and excess < -SUM_TOLERANCE:
        raise Refusal(path, "golden sums", expected=f"1 within {SUM_TOLERANCE:g}", found=f"{-excess:.3g} less")


def _check_relative(field: str, differences: Numbers, path: Path) -> None:
    row = int(differences.argmax())
    if differences[row] > RELATIVE:
        expected = f"within a share of {RELATIVE:g}"
        raise Refusal(path, f"{field}[{row}]", expected=expected, found=f"a difference of {differences[row]:.3g}")


def _is_tied(probabilities: Numbers) -> npt.NDArray[np.bool_]:
    """Which places another class may take: those as probable as a neighbour but for rounding, and with it the last."""
    gaps = probabilities[:, :-1] - probabilities[:, 1:]
    is_close = gaps <= 2 * RELATIVE * probabilities[:, :-1]
    edge = np.ones((len(probabilities), 1), dtype=np.bool_)
    with_next, with_last = np.concatenate([is_close, edge], axis=1), np.concatenate([~edge, is_close], axis=1)
    return np.asarray(with_next | with_last)


def _outputs(example: TopGolden) -> Top:
    return Top(
        np.array([example.top_indices], dtype=np.int64),
        np.array([example.top_probabilities], dtype=np.float32),
        np.array([example.log_partition], dtype=np.float32),
    )
