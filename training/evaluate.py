"""A published version and a run's test split → its figures, by the graph that is served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from clipmax import manifest as manifest_module
from clipmax.conformal import Conformal
from clipmax.manifest import MODEL_FILE, Manifest, Metrics
from clipmax.refusal import Refusal, shorten
from clipmax.repository import read_verified
from training import answers
from training.config import Run
from training.data import sources
from training.data.dataset import Dataset
from training.data.recoding import recode
from training.report.build import selective_figures, set_figures, split_figures
from training.report.figures import FoundNovel, PredictionSets, Selective, SplitFigures
from training.report.novelty import found_novel


class Evaluation(BaseModel):
    """What a version does on a test split. Shares are 0 to 1, log loss is in nats."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    version: int
    same_data: bool = Field(description="whether the data is, byte for byte, that of the version's own run")
    test: SplitFigures
    manifest_metrics: Metrics | None = Field(description="what training measured; null: it did not")
    prediction_sets: tuple[PredictionSets, ...]
    selective: Selective | None
    novelty: tuple[FoundNovel, ...] = Field(description="by level of the p-value; none: the version has no such output")


def evaluate(folder: Path, run: Run) -> Evaluation:
    """Run the graph of a version over the test split of a run's data, as the service would.

    Raises:
        Refusal: a broken version; data with other inputs or labels than the version was trained on.
    """
    manifest = manifest_module.load(folder)
    graph = read_verified(folder, manifest, MODEL_FILE)
    dataset = sources.read(run.data, text_length=run.texts.max_length)
    _check_labels(dataset, manifest, folder)
    known, session = recode(dataset, manifest.inputs, where=folder), answers.session(graph)
    found = answers.answer(session, manifest.inputs, known.test)
    same_data = manifest.data is not None and dataset.fingerprint() == manifest.data.fingerprint
    fitted_on = answers.answer(session, manifest.inputs, known.validation) if same_data else None
    return Evaluation(
        model=manifest.name,
        version=manifest.version,
        same_data=same_data,
        test=split_figures(found, manifest.temperature, fitted_on=fitted_on),
        manifest_metrics=manifest.metrics,
        prediction_sets=tuple(sets for table in _tables(manifest) for sets in set_figures(table, found)),
        selective=selective_figures(manifest.abstention, found) if manifest.abstention else None,
        novelty=found_novel(manifest.novelty, found) if manifest.novelty else (),
    )


def lines(evaluation: Evaluation) -> list[str]:
    """The figures for a person."""
    test, metrics = evaluation.test, evaluation.test.metrics
    fitted = test.ece_noise_upper_fitted
    return [
        f"{evaluation.model} version {evaluation.version} on {metrics.rows:,} test rows"
        + ("" if evaluation.same_data else " of other data than it was trained with"),
        (
            f"accuracy {metrics.accuracy:.4f} (95%: {test.accuracy_low:.4f} to {test.accuracy_high:.4f}), "
            f"macro F1 {metrics.macro_f1:.4f}, log loss {metrics.log_loss:.4f}, Brier {metrics.brier:.4f}"
        ),
        (
            f"ECE {metrics.ece_uncalibrated:.4f} → {metrics.ece:.4f} "
            f"(by chance {test.ece_noise_mean:.4f}, in 5 of 100 samples above {test.ece_noise_upper:.4f}"
            + (")" if fitted is None else f", with the temperature's own chance above {fitted:.4f})")
        ),
        *(
            f"{sets.method} sets for {sets.asked:.0%}: coverage {sets.coverage:.4f} ± {sets.noise:.4f}, "
            f"{sets.mean_size:.2f} labels"
            for sets in evaluation.prediction_sets
        ),
        *_selective_lines(evaluation.selective),
        *(
            f"novelty: {one.share:.2%} with a p-value of at most {one.level:g} (chance: ± {one.noise:.2%})"
            for one in evaluation.novelty
        ),
        _agreement(metrics, evaluation.manifest_metrics),
    ]


def _agreement(found: Metrics, stated: Metrics | None) -> str:
    if stated is None:
        return "the manifest says that nothing was measured"
    return f"the manifest says {'the same' if found == stated else 'other'} metrics"


def _selective_lines(selective: Selective | None) -> Sequence[str]:
    if selective is None:
        return ()
    test = selective.test
    risk = "–" if test.risk is None else f"{test.risk:.4f}"
    return (f"answered {test.coverage:.2%} at a chosen risk of {selective.chosen.risk:.1%}: {risk} of them wrong",)


def _tables(manifest: Manifest) -> tuple[Conformal, ...]:
    return (manifest.conformal.plain, manifest.conformal.adaptive) if manifest.conformal else ()


def _check_labels(dataset: Dataset, manifest: Manifest, folder: Path) -> None:
    if dataset.labels != manifest.labels:
        raise Refusal(folder, "labels", expected=shorten(manifest.labels), found=shorten(dataset.labels))
