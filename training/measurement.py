"""A graph and the rows that it was not trained on → its figures, its promises and what it usually sees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clipmax.abstention import Abstention
from clipmax.conformal import Tables
from clipmax.manifest import Metrics
from clipmax.novelty import Novelty
from clipmax.reference import Reference
from training import abstention, answers, calibration, config, conformal, metrics, novelty, reference
from training.answers import Answers
from training.data.dataset import Dataset, halves


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the exported graph itself, run by onnxruntime, reached and can promise.

    Args:
        validation: answers for all rows that fitted the temperature.
        selection: those of the half that chose the epoch.
        calibration: those of the other half, which chose nothing.
        test: answers for the test split.
        metrics: of `test`.
        conformal: tables of both methods, of the other half of validation.
        abstention: threshold, chosen on that half; the first half only says where to begin.
        novelty: the scores of that half, None where the graph has none.
        reference: of the whole validation split.
    """

    validation: Answers
    selection: Answers
    calibration: Answers
    test: Answers
    metrics: Metrics
    conformal: Tables
    abstention: Abstention
    novelty: Novelty | None
    reference: Reference


def measure(graph: bytes | Path, dataset: Dataset, temperature: float, run: config.Run) -> Measured:
    """Fit on the graph's own float32 answers, so that offline and online agree bit for bit.

    The promises are fitted on the second half of validation at temperatures that its rows had no part in, each its own.

    Raises:
        Refusal: answers that are not finite.
    """
    session = answers.session(graph)
    validation, test = (answers.answer(session, dataset.inputs, split) for split in (dataset.validation, dataset.test))
    first, second = halves(validation.labels)
    selection, held_out = validation.take(first), validation.take(second)
    apart = calibration.apart(validation.logits, validation.labels, temperature)[second]
    return Measured(
        validation=validation,
        selection=selection,
        calibration=held_out,
        test=test,
        metrics=metrics.evaluate(test.logits, test.labels, temperature),
        conformal=Tables(
            plain=conformal.fit(apart, held_out.labels, method="plain"),
            adaptive=conformal.fit(apart, held_out.labels, method="adaptive"),
        ),
        abstention=abstention.fit(
            apart,
            held_out.labels,
            risk=run.abstention.risk,
            confidence_level=run.abstention.confidence_level,
            hint=(selection.probabilities, selection.labels),
        ),
        novelty=None if held_out.novelty is None else novelty.table(run.novelty.score, held_out.novelty),
        reference=reference.fit(dataset.inputs, dataset.validation, validation.probabilities),
    )
