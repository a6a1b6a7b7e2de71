"""All figures of one run, typed: the content of `report.json`, and all that the page knows.

Shares are 0 to 1, log losses and entropies in nats, times in seconds; null stands where a figure is undefined.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from clipmax.abstention import Abstention
from clipmax.conformal import Method
from clipmax.manifest import Metrics
from clipmax.origin import Origin
from training.history import History
from training.loop import EpochFigures

CLASSES_IN_MATRIX = 200
"""Above it the confusion matrix would be most of the file; the most frequent confusions are always there."""

Number = float | None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitUse(_Part):
    """How many rows there were and what was done with them."""

    name: str
    rows: int
    use: str


class SplitFigures(_Part):
    """The served graph on one split."""

    metrics: Metrics
    accuracy_low: float = Field(description="95 % Clopper-Pearson interval of the accuracy")
    accuracy_high: float
    ece_noise_mean: float = Field(description="the ECE that a perfectly calibrated model would have by chance")
    ece_noise_upper: float = Field(description="exceeded by chance in 5 of 100 samples")
    ece_noise_upper_fitted: Number = Field(
        default=None,
        description="the same where the rows that fitted the temperature are a sample too; null: they are not known",
    )


class Clipping(_Part):
    """What stood between `backward` and `step`, and how often it acted."""

    rule: str
    limit: float
    norm_limit: Number = Field(description="the limit where it is one of the global norm, else null")
    clipped_share: float = Field(description="of all steps that were done")
    skipped_steps: int


class Bins(_Part):
    """Top probability against accuracy, an entry a bin of equal width; null in empty bins."""

    count: tuple[int, ...]
    confidence: tuple[Number, ...]
    accuracy: tuple[Number, ...]
    band_low: tuple[Number, ...] = Field(description="chance alone puts a calibrated model's accuracy here, 95 of 100")
    band_high: tuple[Number, ...]


class Reliability(_Part):
    """Of the test split, before and after the temperature."""

    before: Bins
    after: Bins


class Confused(_Part):
    """How often one class was taken for another."""

    true: str
    predicted: str
    rows: int
    share: float = Field(description="of the rows of the true class")


class Confusion(_Part):
    """Of the test split: rows of each true class (first axis) by predicted class (second)."""

    matrix: tuple[tuple[int, ...], ...] | None = Field(description=f"null above {CLASSES_IN_MATRIX} classes")
    pairs: tuple[Confused, ...] = Field(description="the most frequent ones, at most 50")


class ClassFigures(_Part):
    """One class against the rest, on the test split."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class Curve(_Part):
    """Share of wrong answers among the accepted as the threshold falls; at most 200 points."""

    threshold: tuple[float, ...]
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: float = Field(description="under the whole curve: 0 is best")


class Accepted(_Part):
    """What the abstention threshold does on the test split."""

    rows: int
    accepted: int
    wrong: int
    coverage: float
    risk: Number
    risk_low: float = Field(description="95 % Clopper-Pearson interval of the risk")
    risk_high: float


class Selective(_Part):
    """Answering only when sure enough: chosen on calibration rows, measured on the test split."""

    chosen: Abstention
    test: Accepted
    curve: Curve


class PredictionSets(_Part):
    """Conformal sets of one method and coverage: fitted on calibration rows, measured on the test split."""

    method: Method
    asked: float
    threshold: Number = Field(description="null: too few calibration rows, every set holds every label")
    rows: int
    calibration_rows: int
    coverage: float
    noise: float = Field(description="95 of 100 times the coverage of exact sets is asked ± this")
    mean_size: float
    empty: float
    per_class: tuple[Number, ...] = Field(description="coverage of each class in label order; not promised")


class Shown(_Part):
    """One input of a row, as a person can look at it."""

    name: str
    kind: Literal["image", "value", "text"]
    content: str = Field(description="PNG in base64 for an image, else the value or the text, shortened")


class Mistake(_Part):
    """A row of the test split that the model was sure and wrong about."""

    row: int = Field(description="counted from 0 in the test split")
    true: str
    predicted: str
    probability: float
    true_probability: float
    inputs: tuple[Shown, ...]


class FoundNovel(_Part):
    """How many test rows get a p-value of at most the level; of rows like the calibration rows at most that share."""

    level: float
    rows: int
    calibration_rows: int
    share: float
    noise: float = Field(description="95 of 100 times the share is at most level + this")


class Novel(_Part):
    """A row of the test split that is unlike the training rows."""

    row: int = Field(description="counted from 0 in the test split")
    score: float
    p_value: float
    true: str
    predicted: str
    probability: float
    inputs: tuple[Shown, ...]


class Novelty(_Part):
    """The graph's novelty output."""

    score: str
    limit: Number = Field(description="above it the p-value is at most 0.05; null: too few calibration rows")
    edges: tuple[float, ...] = Field(description="of the bins that both counts are by")
    calibration: tuple[int, ...]
    test: tuple[int, ...]
    found: tuple[FoundNovel, ...]
    most: tuple[Novel, ...] = Field(description="the most novel rows of the test split, the most novel first")


class InputSummary(_Part):
    """One input of the schema in words."""

    name: str
    kind: str
    detail: str


class Data(_Part):
    """What was read."""

    fingerprint: str
    files: dict[str, str] = Field(description="file name → SHA-256")
    inputs: tuple[InputSummary, ...]
    splits: tuple[SplitUse, ...]
    findings: tuple[str, ...] = Field(description="what reading the data found worth saying, a sentence each")


class Environment(_Part):
    """Where it ran."""

    python: str
    platform: str
    processor: str
    threads: int
    libraries: dict[str, str]
    git_commit: str | None


class Verdict(_Part):
    """What some figures mean, in a sentence."""

    name: str
    good: bool = Field(description="false: worth a look")
    sentence: str


class Report(_Part):
    """The content of `report.json`. Keys stay; new ones may come."""

    report_version: Literal[1] = 1
    name: str
    version: int | None = None
    created: datetime
    labels: tuple[str, ...]
    seed: int
    training_seconds: float
    best_epoch: int
    temperature: float
    temperature_error: Number = Field(default=None, description="standard error of its logarithm")
    slope: Number = Field(default=None, description="null, or: logits are times 1 + slope · (entropy - slope_center)")
    slope_center: Number = None
    validation: SplitFigures
    test: SplitFigures
    epochs: tuple[EpochFigures, ...]
    clipping: Clipping
    softmax: tuple[str, ...] = Field(description="what each diagnostic of the kept epoch means and what to do")
    diagnostics_share: float = Field(description="of the epochs' time that the diagnostics took")
    reliability: Reliability
    confusion: Confusion
    per_class: tuple[ClassFigures, ...]
    selective: Selective
    prediction_sets: tuple[PredictionSets, ...]
    mistakes: tuple[Mistake, ...]
    novelty: Novelty | None = Field(default=None, description="null: the graph has no such output")
    data: Data
    origin: Origin | None = Field(default=None, description="the version whose weights it began with")
    search: History | None = Field(default=None, description="how its parameters were found")
    verdicts: tuple[Verdict, ...] = ()
    configuration: dict[str, JsonValue]
    environment: Environment
