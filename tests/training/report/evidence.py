"""A run's evidence without a run: answers that are right about their own probabilities, for any number of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from clipmax.conformal import Tables
from clipmax.inputs import CategoryInput, HistoryInput, ImageInput, Input, NumberInput, TextInput
from tests.training.samples import Array, sample
from training import abstention, conformal, diagnostics, metrics, novelty, reference
from training.answers import Answers
from training.config import Run
from training.data.dataset import Dataset, Split
from training.loop import EpochFigures
from training.measurement import Measured
from training.report.build import Evidence

TEMPERATURE = 1.25
IMAGE = ImageInput(name="image", shape=(4, 4))
ROW = (
    NumberInput(name="amount", minimum=-1.0, maximum=1.0, origin=100.0),
    CategoryInput(name="currency", categories=("EUR", "<i>USD</i>")),
)
TEXT = TextInput(name="question", max_length=64)


def evidence(*, classes: int = 3, labels: tuple[str, ...] | None = None, inputs: tuple[Input, ...] = (IMAGE,)) -> Any:
    """The evidence of a run of three epochs with 400 validation and 600 test rows."""
    words = labels or tuple(f"class {index}" for index in range(classes))
    rows = max(600, 4 * len(words))
    test, test_answers = _split(1, rows, len(words), inputs)
    validation, answers = _split(2, rows, len(words), inputs)
    dataset = Dataset(inputs, words, train=validation, validation=validation, test=test, files={"rows.csv": "0" * 64})
    return Evidence(
        run=_run(),
        configuration=_run().model_dump(mode="json"),
        dataset=dataset,
        fingerprint="1" * 64,
        epochs=[_epoch(number, len(words)) for number in (1, 2, 3)],
        best_epoch=2,
        temperature=TEMPERATURE,
        measured=_measured(dataset, answers, test_answers),
        libraries={"torch": torch.__version__},
        git_commit=None,
        findings=("The column amount has 3 missing values.",),
    )


def _run() -> Run:
    data = {"source": "npz", "file": "digits.npz"}
    return Run.model_validate({"name": "shapes", "data": data, "clipping": {"rule": "norm", "limit": 1.0}})


def _split(seed: int, rows: int, classes: int, inputs: tuple[Input, ...]) -> tuple[Split, Answers]:
    logits, labels = sample(seed, rows=rows, classes=classes, sharpness=4.0)
    labels = labels.astype(np.int64)
    scaled = (logits * TEMPERATURE).astype(np.float32)
    probabilities = np.exp(metrics.log_probabilities(scaled, TEMPERATURE)).astype(np.float32)
    split = Split({schema.name: _column(schema, seed, rows) for schema in inputs}, labels)
    novelty = 1.0 - probabilities.max(axis=1)
    return split, Answers(logits=scaled, probabilities=probabilities, labels=labels, novelty=novelty)


def _column(schema: Input, seed: int, rows: int) -> Array:
    random = np.random.default_rng(seed)
    match schema:
        case ImageInput():
            return random.integers(0, 256, (rows, *schema.shape), dtype=np.uint8)
        case NumberInput():
            values = random.uniform(-1, 1, (rows, 1)).astype(np.float32)
            values[::7] = np.nan
            return values
        case CategoryInput():
            return random.integers(0, 2 + len(schema.categories), (rows, 1), dtype=np.int32)
        case TextInput():
            return np.array([f"<b>row</b> {row} " * 40 for row in range(rows)], dtype=object)
        case HistoryInput():
            raise TypeError("no row with one label has a history")


def _epoch(number: int, classes: int) -> EpochFigures:
    torch.manual_seed(number)
    logits, labels = torch.randn(64, classes), torch.arange(64) % classes
    found = diagnostics.measure(
        logits=logits,
        labels=labels,
        hidden={"mlp.0": logits.relu()},
        gradients={"mlp.0.weight": logits / number, "mlp.2.weight": logits},
        width=8,
    )
    return EpochFigures(
        epoch=number,
        loss=1.0 / number,
        train_accuracy=0.9,
        validation_accuracy=0.8,
        validation_log_loss=0.5,
        grad_norm_median=0.5,
        grad_norm_max=2.0,
        grad_largest=0.1,
        clipped_share=0.25,
        skipped_steps=0,
        samples_per_second=1000.0,
        seconds=1.0,
        diagnostics=found,
    )


def _measured(dataset: Dataset, validation: Answers, test: Answers) -> Measured:
    assert validation.novelty is not None
    half = len(validation) // 2
    first, second = (
        Answers(
            logits=validation.logits[rows],
            probabilities=validation.probabilities[rows],
            labels=validation.labels[rows],
            novelty=validation.novelty[rows],
        )
        for rows in (slice(half), slice(half, None))
    )
    return Measured(
        validation=validation,
        selection=first,
        calibration=second,
        test=test,
        metrics=metrics.evaluate(test.logits, test.labels, TEMPERATURE),
        conformal=Tables(
            plain=conformal.fit(second.probabilities, second.labels, method="plain"),
            adaptive=conformal.fit(second.probabilities, second.labels, method="adaptive"),
        ),
        abstention=abstention.fit(second.probabilities, second.labels),
        novelty=novelty.table("probability", second.novelty) if second.novelty is not None else None,
        reference=reference.fit(dataset.inputs, dataset.validation, validation.probabilities),
    )
