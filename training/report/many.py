"""What a run of very many classes was and reached → `report.html` and `report.json`, with no figure a class."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from clipmax.head import Head
from clipmax.manifest import Metrics
from training import diagnostics
from training.loop import EpochFigures
from training.many import judging
from training.many.measurement import MeasuredTop
from training.report import page
from training.report.build import Circumstances, clipping_figures, data_figures, environment_figures
from training.report.figures import Clipping, Data, Environment

_TEMPLATE = "many.html.jinja"


class ManyReport(BaseModel):
    """The content of `report.json` of a graph that answers the most probable classes only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    report_version: Literal[1] = 1
    form: Literal["top"] = "top"
    name: str
    version: int | None = None
    created: datetime
    classes: int
    seed: int
    training_seconds: float
    best_epoch: int
    temperature: float
    validation: Metrics
    test: Metrics = Field(description="over all classes, never over a sample")
    head: Head
    softmax: tuple[str, ...] = Field(description="what each diagnostic of the kept epoch means and what to do")
    epochs: tuple[EpochFigures, ...] = Field(description="the training loss of a sampled head is an estimate")
    clipping: Clipping
    data: Data
    configuration: dict[str, JsonValue]
    environment: Environment


def build(circumstances: Circumstances, measured: MeasuredTop) -> ManyReport:
    """All figures. The version is not known yet: it comes with publishing."""
    run, epochs = circumstances.run, tuple(circumstances.epochs)
    return ManyReport(
        name=run.name,
        created=datetime.now(UTC).replace(microsecond=0),
        classes=len(circumstances.dataset.labels),
        seed=run.seed,
        training_seconds=sum(epoch.seconds for epoch in epochs),
        best_epoch=circumstances.best_epoch,
        temperature=circumstances.temperature,
        validation=judging.figures(measured.validation),
        test=measured.metrics,
        head=measured.head,
        softmax=tuple(diagnostics.sentences(epochs[circumstances.best_epoch - 1].diagnostics)),
        epochs=epochs,
        clipping=clipping_figures(run, epochs),
        data=_data(circumstances, measured),
        configuration=dict(circumstances.configuration),
        environment=environment_figures(circumstances),
    )


def files(report: ManyReport) -> dict[str, bytes]:
    """File name → content of both files of a published version."""
    return {
        page.HTML_FILE: render(report).encode(),
        page.JSON_FILE: (report.model_dump_json(indent=1) + "\n").encode(),
    }


def render(report: ManyReport) -> str:
    """The page. Inputs and configuration are escaped wherever they stand."""
    text: str = (
        page.environment()
        .get_template(_TEMPLATE)
        .render(
            report=report,
            **page.style_sheet(),
            configuration=page.flat(report.configuration),
            epochs_shown=page.thinned(report.epochs),
        )
    )
    return text


def _data(circumstances: Circumstances, measured: MeasuredTop) -> Data:
    dataset = circumstances.dataset
    return data_figures(
        circumstances,
        (
            ("train", len(dataset.train), "weights and encoders were fitted on it"),
            (
                "validation, first half",
                len(measured.validation),
                "chose the epoch; fitted the temperature with the other half",
            ),
            ("test", len(dataset.test), "read once, at the end; nothing was chosen by it"),
        ),
    )
