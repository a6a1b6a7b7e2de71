"""What a run was, and what its graph answered on validation and test → all figures of the report."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from clipmax.abstention import Abstention
from clipmax.conformal import Conformal
from clipmax.inputs import CategoryInput, HistoryInput, ImageInput, Input, NumberInput, TextInput
from clipmax.origin import Origin
from training import abstention, calibration, conformal, diagnostics, metrics
from training.answers import Answers
from training.config import Run
from training.data.dataset import Dataset
from training.history import History
from training.loop import EpochFigures
from training.measurement import Measured
from training.report import figures, novelty
from training.report.mistakes import most_confident
from training.report.verdicts import verdicts
from training.slope import Line

COVERAGES = (0.8, 0.9, 0.95, 0.99)
_PAIRS = 50
_CURVE_POINTS = 200
_NORM_RULES = frozenset({"norm"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a run was, whatever it reached.

    Args:
        findings: what reading the data found worth saying.
        origin: the version that the run went on from.
        history: of the search that the configuration is the winner of.
        line: by which a row's entropy changes its logits, if it does.
    """

    run: Run
    configuration: Mapping[str, Any]
    dataset: Dataset
    fingerprint: str
    epochs: Sequence[EpochFigures]
    best_epoch: int
    temperature: float
    libraries: Mapping[str, str]
    git_commit: str | None
    findings: Sequence[str] = ()
    origin: Origin | None = None
    history: History | None = None
    line: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Circumstances):
    """Everything the report is computed from.

    Args:
        measured: what the exported graph reached and can promise.
    """

    measured: Measured


def build(evidence: Evidence) -> figures.Report:
    """All figures. The version is not known yet: it comes with publishing."""
    report = _figures(evidence)
    return report.model_copy(update={"verdicts": verdicts(report)})


def _figures(evidence: Evidence) -> figures.Report:
    run, dataset, epochs = evidence.run, evidence.dataset, tuple(evidence.epochs)
    tables = evidence.measured.conformal
    seconds = sum(epoch.seconds for epoch in epochs)
    return figures.Report(
        name=run.name,
        created=datetime.now(UTC).replace(microsecond=0),
        labels=dataset.labels,
        seed=run.seed,
        training_seconds=seconds,
        best_epoch=evidence.best_epoch,
        temperature=evidence.temperature,
        validation=split_figures(evidence.measured.validation, evidence.temperature),
        temperature_error=calibration.log_error(evidence.measured.validation.logits, evidence.temperature),
        slope=evidence.line.slope if evidence.line else None,
        slope_center=evidence.line.center if evidence.line else None,
        test=split_figures(evidence.measured.test, evidence.temperature, fitted_on=evidence.measured.validation),
        epochs=epochs,
        clipping=clipping_figures(run, epochs),
        softmax=tuple(diagnostics.sentences(epochs[evidence.best_epoch - 1].diagnostics)),
        diagnostics_share=sum(epoch.diagnostics.seconds for epoch in epochs) / seconds,
        reliability=_reliability(evidence.measured.test),
        confusion=_confusion(evidence.measured.test, dataset.labels),
        per_class=_per_class(evidence.measured.test, dataset.labels),
        selective=selective_figures(evidence.measured.abstention, evidence.measured.test),
        prediction_sets=tuple(
            sets for table in (tables.plain, tables.adaptive) for sets in set_figures(table, evidence.measured.test)
        ),
        mistakes=most_confident(
            evidence.measured.test.probabilities,
            dataset.test,
            dataset.inputs,
            dataset.labels,
            count=run.report.mistakes,
        ),
        novelty=_novelty(evidence),
        data=_data(evidence),
        origin=evidence.origin,
        search=evidence.history,
        configuration=dict(evidence.configuration),
        environment=environment_figures(evidence),
    )


def split_figures(answers: Answers, temperature: float, *, fitted_on: Answers | None = None) -> figures.SplitFigures:
    """Metrics with the noise that belongs to them.

    Args:
        answers: for the split.
        temperature: of the graph.
        fitted_on: answers for the rows that fitted it, where they are known.
    """
    found = metrics.evaluate(answers.logits, answers.labels, temperature)
    noise = metrics.ece_noise(answers.probabilities)
    right = round(found.accuracy * found.rows)
    return figures.SplitFigures(
        metrics=found,
        accuracy_low=1.0 - abstention.clopper_pearson_upper(found.rows - right, found.rows, 0.025),
        accuracy_high=abstention.clopper_pearson_upper(right, found.rows, 0.025),
        ece_noise_mean=noise.mean,
        ece_noise_upper=noise.upper,
        ece_noise_upper_fitted=None if fitted_on is None else _upper_of_fitted(answers, temperature, fitted_on),
    )


def _upper_of_fitted(answers: Answers, temperature: float, fitted_on: Answers) -> float:
    log_error = calibration.log_error(fitted_on.logits, temperature)
    return metrics.ece_noise_of_fitted(answers.logits, temperature, log_error).upper


def clipping_figures(run: Run, epochs: Sequence[EpochFigures]) -> figures.Clipping:
    """The rule, and how often it acted."""
    settings = run.clipping
    return figures.Clipping(
        rule=settings.rule,
        limit=settings.limit,
        norm_limit=settings.limit if settings.rule in _NORM_RULES else None,
        clipped_share=float(np.mean([epoch.clipped_share for epoch in epochs])),
        skipped_steps=sum(epoch.skipped_steps for epoch in epochs),
    )


def _reliability(answers: Answers) -> figures.Reliability:
    uncalibrated = np.exp(metrics.log_probabilities(answers.logits))
    return figures.Reliability(
        before=_bins(metrics.reliability(uncalibrated, answers.labels)),
        after=_bins(metrics.reliability(answers.probabilities, answers.labels)),
    )


def _bins(found: metrics.Reliability) -> figures.Bins:
    return figures.Bins(
        count=tuple(found.count.tolist()),
        confidence=_numbers(found.confidence),
        accuracy=_numbers(found.accuracy),
        band_low=_numbers(found.band_low),
        band_high=_numbers(found.band_high),
    )


def _numbers(values: npt.NDArray[Any]) -> tuple[figures.Number, ...]:
    return tuple(value if math.isfinite(value) else None for value in values.tolist())


def _confusion(answers: Answers, labels: Sequence[str]) -> figures.Confusion:
    classes = len(labels)
    predicted = answers.probabilities.argmax(axis=1)
    wrong = predicted != answers.labels
    # Pairs that occur, rather than all K² of them: K may be large.
    pairs, counts = np.unique(answers.labels[wrong] * classes + predicted[wrong], return_counts=True)
    support = np.bincount(answers.labels, minlength=classes)
    matrix = None
    if classes <= figures.CLASSES_IN_MATRIX:
        matrix = tuple(map(tuple, metrics.confusion(answers.probabilities, answers.labels).tolist()))
    return figures.Confusion(
        matrix=matrix,
        pairs=tuple(
            figures.Confused(
                true=labels[pair // classes],
                predicted=labels[pair % classes],
                rows=count,
                share=count / int(support[pair // classes]),
            )
            for pair, count in sorted(zip(pairs.tolist(), counts.tolist(), strict=True), key=lambda item: -item[1])[
                :_PAIRS
            ]
        ),
    )


def _per_class(answers: Answers, labels: Sequence[str]) -> tuple[figures.ClassFigures, ...]:
    found = metrics.per_class(answers.probabilities, answers.labels)
    columns = (found.precision.tolist(), found.recall.tolist(), found.f1.tolist(), found.support.tolist())
    return tuple(
        figures.ClassFigures(label=label, precision=precision, recall=recall, f1=f1, support=support)
        for label, precision, recall, f1, support in zip(labels, *columns, strict=True)
    )


def selective_figures(chosen: Abstention, answers: Answers) -> figures.Selective:
    """What the chosen threshold does on these answers, and the whole curve, thinned."""
    probabilities, labels = answers.probabilities, answers.labels
    test = abstention.measure(chosen, probabilities, labels)
    curve = abstention.risk_coverage(probabilities, labels)
    kept = np.unique(np.linspace(0, len(curve.coverage) - 1, _CURVE_POINTS).round().astype(int))
    return figures.Selective(
        chosen=chosen,
        test=figures.Accepted(
            rows=test.rows,
            accepted=test.accepted,
            wrong=test.wrong,
            coverage=test.coverage,
            risk=test.risk if test.accepted else None,
            risk_low=test.risk_low,
            risk_high=test.risk_high,
        ),
        curve=figures.Curve(
            threshold=tuple(curve.threshold[kept].tolist()),
            coverage=tuple(curve.coverage[kept].tolist()),
            risk=tuple(curve.risk[kept].tolist()),
            area=abstention.area(curve),
        ),
    )


def set_figures(table: Conformal, answers: Answers) -> list[figures.PredictionSets]:
    """How the sets of one method do on these answers, for each of `COVERAGES`."""
    found = conformal.measure_all(table, answers.probabilities, answers.labels, coverages=COVERAGES)
    return [_sets(table, one) for one in found]


def _sets(table: Conformal, found: conformal.SetFigures) -> figures.PredictionSets:
    return figures.PredictionSets(
        method=table.method,
        asked=found.asked,
        threshold=found.threshold if math.isfinite(found.threshold) else None,
        rows=found.rows,
        calibration_rows=table.rows,
        coverage=found.coverage,
        noise=found.noise,
        mean_size=found.mean_size,
        empty=found.empty,
        per_class=_numbers(found.per_class),
    )


def _novelty(evidence: Evidence) -> figures.Novelty | None:
    measured, dataset = evidence.measured, evidence.dataset
    if measured.novelty is None:
        return None
    return novelty.novelty_figures(
        measured.novelty,
        measured.calibration,
        measured.test,
        split=dataset.test,
        inputs=dataset.inputs,
        labels=dataset.labels,
        count=evidence.run.report.mistakes,
    )


def _data(evidence: Evidence) -> figures.Data:
    dataset, selected = evidence.dataset, len(evidence.measured.selection.labels)
    calibration = len(dataset.validation) - selected
    uses = (
        ("train", len(dataset.train), "weights and encoders were fitted on it"),
        ("validation, first half", selected, "chose the epoch; fitted the temperature with the other half"),
        (
            "validation, second half",
            calibration,
            "chose nothing; gave the conformal scores, the abstention threshold and the novelty values",
        ),
        ("test", len(dataset.test), "read once, at the end; nothing was chosen by it"),
    )
    return data_figures(evidence, uses)


def data_figures(evidence: Circumstances, uses: Sequence[tuple[str, int, str]]) -> figures.Data:
    """What was read, and of each split its rows and their use."""
    dataset = evidence.dataset
    return figures.Data(
        fingerprint=evidence.fingerprint,
        files=dict(dataset.files),
        inputs=tuple(
            figures.InputSummary(name=schema.name, kind=schema.kind, detail=_detail(schema))
            for schema in dataset.inputs
        ),
        splits=tuple(figures.SplitUse(name=name, rows=rows, use=use) for name, rows, use in uses),
        findings=tuple(evidence.findings),
    )


def _detail(schema: Input) -> str:
    match schema:
        case ImageInput():
            size = " × ".join(map(str, schema.shape))
            return f"{size} pixels, {schema.minimum:g} to {schema.maximum:g}"
        case NumberInput():
            return f"{schema.minimum:.7g} to {schema.maximum:.7g} in training"
        case CategoryInput():
            return f"{len(schema.categories):,} words in training"
        case TextInput():
            return f"the first {schema.max_length:,} code points are read"
        case HistoryInput():
            return f"{len(schema.items):,} items in training"


def environment_figures(evidence: Circumstances) -> figures.Environment:
    """Where it ran."""
    return environment(evidence.libraries, evidence.git_commit)


def environment(libraries: Mapping[str, str], git_commit: str | None) -> figures.Environment:
    """Where this process runs."""
    return figures.Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        threads=torch.get_num_threads(),
        libraries=dict(libraries),
        git_commit=git_commit,
    )


def _processor() -> str:
    """The CPU's name and the cores this process may use: timings mean little without."""
    cores = f"{len(os.sched_getaffinity(0))} cores"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return cores
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {cores}" if names else cores
