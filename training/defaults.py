"""A run and its data → the run with every value that the file left open, as suits the kinds of input.

The values were chosen on few data sets and are meant for all; the manifest records the whole effective configuration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from training.config import Run, TableSource
from training.data import tables
from training.data.dataset import Dataset
from training.heads import settings as heads

Values = Mapping[str, Mapping[str, Any]]
"""Section of the configuration → field → value."""


def fill(run: Run, dataset: Dataset) -> Run:
    """The run with the recipe's values wherever the configuration sets none itself."""
    given = run
    for section, values in RECIPES[family(dataset)](len(dataset.train)).items():
        own = getattr(run, section)
        open_fields = {field: value for field, value in values.items() if field not in own.model_fields_set}
        run = run.model_copy(update={section: own.model_copy(update=open_fields)})
    if isinstance(run.data, TableSource):
        share = tables.validation_share(run.data, len(dataset.train) + len(dataset.validation))
        run = run.model_copy(update={"data": run.data.model_copy(update={"validation": share})})
    return heads.fill(run, dataset, given=given)


def family(dataset: Dataset) -> str:
    """Which recipe: an image decides, else a text, whatever stands beside it."""
    kinds = {schema.kind for schema in dataset.inputs}
    return next((family for family in ("image", "text") if family in kinds), "rows")


def _image(rows: int) -> Values:
    """Those of `training.config`, except that a batch is never larger than the data."""
    return {"fit": {"batch_size": min(128, rows)}}


def _rows(rows: int) -> Values:
    """Four small networks, AdamW on small batches, at least 1,000 steps, averaged weights, stopped early."""
    batch = min(rows, max(16, min(256, rows // 16)))
    return {
        "model": {"hidden": (128, 128), "dropout": 0.2, "initialization": "prior", "members": 4},
        "optimizer": {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05},
        "schedule": {"name": "cosine", "warmup": 0.02},
        "fit": {
            "batch_size": batch,
            "epochs": max(12, math.ceil(1000 / max(1, rows // batch))),
            "average": 0.999,
            "patience": 4,
        },
    }


def _text(rows: int) -> Values:
    """Few passes with falling rates, at least 250 steps; the last weights, because held-out rows weigh the parts."""
    batch = min(rows, max(16, min(256, rows // 32)))
    return {
        "model": {"hidden": (128,), "dropout": 0.2, "initialization": "prior", "shortcut": True},
        "optimizer": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.01},
        "schedule": {"name": "linear", "warmup": 0.05},
        "fit": {"batch_size": batch, "epochs": max(8, math.ceil(250 / max(1, rows // batch))), "keep": "last"},
    }


RECIPES: Mapping[str, Callable[[int], Values]] = MappingProxyType({"image": _image, "rows": _rows, "text": _text})
"""Family of inputs → its values, from the number of training rows."""
