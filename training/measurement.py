"""A graph and the rows that it was not trained on → its figures, its promises and what it usually sees."""

from __future__ import annotations

from dataclasses import dataclass

from clipmax.abstention import Abstention
from clipmax.conformal import Tables
from clipmax.manifest import Metrics
from clipmax.novelty import Novelty
from clipmax.reference import Reference
from training import abstention, answers, config, conformal, metrics, novelty, reference
from training.answers import Answers
from training.data.dataset import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the exported graph itself, run by onnxruntime, reached and can promise.

    Args:
        selection: answers for the half of validation that chose the epoch and fitted the temperature.
        calibration: answers for the other half, which nothing was fitted on before.
        test: answers for the test split.
        metrics: of `test`.
        conformal: tables of both methods, fitted on the other half of validation.
        abstention: threshold, chosen on that half; the first half only says where to begin.
        novelty: the scores of that half, None where the graph has none.
        reference: of the whole validation split.
    """

    selection: Answers
    calibration: Answers
    test: Answers
    metrics: Metrics
    conformal: Tables
    abstention: Abstention
    novelty: Novelty | None
    reference: Reference


def measure(graph: bytes, dataset: Dataset, temperature: float, run: config.Run) -> Measured:
    """Fit on the graph's own float32 probabilities, so that offline and online agree bit for bit.

    Raises:
        Refusal: answers that are not finite.
    """
    session = answers.session(graph)
    selection, calibration, validation, test = (
        answers.answer(session, dataset.inputs, split)
        for split in (dataset.selection, dataset.calibration, dataset.validation, dataset.test)
    )
    return Measured(
        selection=selection,
        calibration=calibration,
        test=test,
        metrics=metrics.evaluate(test.logits, test.labels, temperature),
        conformal=Tables(
            plain=conformal.fit(calibration.probabilities, calibration.labels, method="plain"),
            adaptive=conformal.fit(calibration.probabilities, calibration.labels, method="adaptive"),
        ),
        abstention=abstention.fit(
            calibration.probabilities,
            calibration.labels,
            risk=run.abstention.risk,
            confidence_level=run.abstention.confidence_level,
            hint=(selection.probabilities, selection.labels),
        ),
        novelty=None if calibration.novelty is None else novelty.table(run.novelty.score, calibration.novelty),
        reference=reference.fit(dataset.inputs, dataset.validation, validation.probabilities),
    )
