"""Predictions → a numpy array, or the columns of a data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmax.client.prediction import Prediction

Columns = dict[str, list[Any]]


class Predictions(list[Prediction]):
    """What `predict` gives: a list, a prediction a row, that converts to arrays and data frames."""

    def to_numpy(self) -> npt.NDArray[np.float32]:
        """Every label's probability, in the model's order: float32 [N, K], bit for bit what the graph gave.

        Raises:
            ValueError: `predict` was not asked for `probabilities`, or left labels out.
        """
        if any(one.probabilities is None for one in self):
            raise ValueError("there are only the likeliest labels; ask with probabilities=True")
        if any(one.considered is not None for one in self):
            raise ValueError("labels were left out; ask without candidates and exclude_seen")
        values = [list(one.probabilities.values()) for one in self if one.probabilities is not None]
        return np.array(values, dtype=np.float32)

    def to_polars(self) -> Any:
        """A `polars.DataFrame` with the columns of `columns`. Raises ImportError without polars."""
        return import_module("polars").DataFrame(columns(self))

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with the columns of `columns`. Raises ImportError without pandas."""
        return import_module("pandas").DataFrame(columns(self))


def columns(predictions: Sequence[Prediction]) -> Columns:
    """The predictions of one call by column.

    `label`, `probability`, then `label_2`, `probability_2` and so on as `top` has them, `p(LABEL)` and `logit(LABEL)`
    of every label, `prediction_set`, `abstained`, `novelty_score` and `novelty_p_value` where they were asked for, the
    remarks, `history_known` and `history_unknown` of a model that reads histories, `model` and `version`.
    """
    if not predictions:
        return {}
    return {**_top(predictions), **_asked_for(predictions), **_remarks(predictions)}


def _top(predictions: Sequence[Prediction]) -> Columns:
    found: Columns = {
        "label": [one.label for one in predictions],
        "probability": [one.probability for one in predictions],
    }
    for place in range(1, max(len(one.top) for one in predictions)):
        tops = [one.top[place] if place < len(one.top) else None for one in predictions]
        found[f"label_{place + 1}"] = [None if top is None else top.label for top in tops]
        found[f"probability_{place + 1}"] = [None if top is None else top.probability for top in tops]
    return found


def _asked_for(predictions: Sequence[Prediction]) -> Columns:
    """What the first prediction has, all of one call have."""
    first = predictions[0]
    found: Columns = {}
    if first.probabilities is not None:
        found |= _by_label("p", [one.probabilities or {} for one in predictions])
    if first.logits is not None:
        found |= _by_label("logit", [one.logits or {} for one in predictions])
    if first.prediction_set is not None:
        found["prediction_set"] = [list(one.prediction_set or ()) for one in predictions]
    if first.abstained is not None:
        found["abstained"] = [one.abstained for one in predictions]
    if first.novelty is not None:
        for name in ("score", "p_value"):
            found[f"novelty_{name}"] = [getattr(one.novelty, name) for one in predictions]
    return found


def _remarks(predictions: Sequence[Prediction]) -> Columns:
    return {
        "out_of_range": [one.out_of_range for one in predictions],
        "unknown": [list(one.unknown) for one in predictions],
        "truncated": [list(one.truncated) for one in predictions],
        **_history(predictions),
        "model": [one.model for one in predictions],
        "version": [one.version for one in predictions],
    }


def _history(predictions: Sequence[Prediction]) -> Columns:
    """Of a model that reads histories."""
    if predictions[0].history is None:
        return {}
    return {f"history_{name}": [getattr(one.history, name) for one in predictions] for name in ("known", "unknown")}


def _by_label(prefix: str, rows: Sequence[Mapping[str, float]]) -> Columns:
    named = dict.fromkeys(label for row in rows for label in row)  # rows from which seen items are left out differ
    return {f"{prefix}({label})": [row.get(label) for row in rows] for label in named}
