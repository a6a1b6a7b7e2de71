"""One run = one typed, frozen configuration: its sections, their fields and defaults. `training.run_file` reads it.

The defaults here suit images; `training.defaults` puts those of other kinds of input in their place, field by field,
wherever the file says nothing, and the manifest records what was used. Paths under `[data]` are relative to the
TOML file, `models` and `runs` to the working directory.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from clipmax.manifest import NAME_PATTERN

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class _Source(_Section):
    sha256: dict[str, Sha256] = Field(default_factory=dict)
    """File name → SHA-256 that the file must have; files that are not listed are not checked."""

    validation: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Share of the training rows that is set aside, the same share of every class."""

    split_seed: int = Field(default=0, ge=0)
    """Seed of the split alone, so that runs of different `seed` see the same rows."""

    labels: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """The words for class 0, 1, …; by default the numbers themselves, or the training split's words in order."""


class IdxSource(_Source):
    """The four files of the MNIST family: images and labels, training and test, plain or gzipped."""

    source: Literal["idx"]
    train_images: Path
    train_labels: Path
    test_images: Path
    test_labels: Path


class NpzSource(_Source):
    """One NumPy archive with the arrays x_train, y_train, x_test, y_test, the layout of Keras' data sets."""

    source: Literal["npz"]
    file: Path


class TableSource(_Source):
    """Rows of a CSV (`.csv`, `.tsv`), JSON Lines (`.jsonl`) or Parquet (`.parquet`) file, plain or gzipped (`.gz`).

    Without `numbers`, `categories` and `texts`, the training rows tell what a column is; see `training.data.kinds`.
    """

    source: Literal["table"]
    train: Path
    label: str
    """The column to predict; its words are the classes."""

    test: Path | None = None
    """Rows for the one final test; by default a share of the training file."""

    validation_file: Path | None = None
    """Rows for calibration and for choosing the epoch; by default a share of the training rows."""

    test_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Where there is no test file."""

    group: str | None = None
    """A column whose rows of equal value must stay on the same side of a split (one patient, one customer)."""

    time: str | None = None
    """A column to split by: the latest rows are for testing, those before them for validation."""

    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    """Columns that are not used; those of `group` and `time` never are."""

    missing: tuple[str, ...] = ("",)
    """What stands for a missing value."""


class FolderSource(_Source):
    """PNG and JPEG images of one size in one folder a class: `<train>/<class>/*.png`."""

    source: Literal["folders"]
    train: Path
    test: Path | None = None
    """The same layout, for the one final test; by default a share of the training images."""

    test_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Where there is no test folder."""

    color: Literal["gray", "rgb"] = "rgb"


class EventSource(_Section):
    """Purchases, one row an item bought, in a file of any kind that `table` reads; for next baskets."""

    source: Literal["events"]
    file: Path
    sha256: dict[str, Sha256] = Field(default_factory=dict)
    """File name → SHA-256 that the file must have."""

    customer: str
    """The column that says who bought; rows without are left out."""

    basket: str
    """The column that says what was bought together."""

    item: str
    """The column whose codes are to be told."""

    time: str
    """A column of times or dates, or of strings in ISO 8601; without an offset they count as UTC."""

    test_from: date
    """Baskets from this day on are for the one final test; customers, items and histories come from before."""

    validation_days: int = Field(default=30, ge=1)
    """So many days before the test choose the settings."""

    quantity: str | None = None
    """A column of numbers; rows of zero or less (returned goods) are left out."""

    items: str | None = None
    """A regular expression that a code must match; rows of others (postage, fees) are left out."""

    min_rows: int = Field(default=20, ge=1)
    """Rows before the test that a code needs; rarer ones are no classes."""

    max_items: int = Field(default=10_000, ge=2)
    """More are refused: item-kNN and EASE hold several matrices of items by items, 0.8 GB each at 10,000."""

    missing: tuple[str, ...] = ("",)
    """What stands for a missing value."""


SOURCES = (IdxSource, NpzSource, TableSource, FolderSource, EventSource)
Source = Annotated[IdxSource | NpzSource | TableSource | FolderSource | EventSource, Field(discriminator="source")]


class Augmentation(_Section):
    """Random changes of each training image, drawn anew in every epoch. Zero switches one off."""

    rotation_degrees: float = Field(default=0.0, ge=0.0, le=180.0)
    """Uniform in ± this angle."""

    shift: Share = 0.0
    """Uniform in ± this share of the width and of the height."""

    scale: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Uniform factor in 1 ± this."""

    shear_degrees: float = Field(default=0.0, ge=0.0, lt=90.0)
    """Uniform in ± this angle."""

    elastic: Share = 0.0
    """Elastic bending: the standard deviation of each pixel's displacement, as a share of the width. 0.05 is strong."""

    elastic_smoothing: float = Field(default=0.14, gt=0.0, le=1.0)
    """Of `elastic`: over what share of the width neighbouring pixels move together."""


class Images(_Section):
    """How pixels become features."""

    scaling: Literal["unit", "standard"] = "standard"
    """`unit`: 0..1. `standard`: mean 0 and standard deviation 1 over all pixels of the training split."""

    augmentation: Augmentation = Augmentation()


class Rows(_Section):
    """How the numbers and words of a table row become features."""

    bins: int = Field(default=96, ge=1)
    """Bins of a number column at most; fewer on few rows."""

    column_width: int = Field(default=32, ge=1)
    """Features of each number column, and of each column of more than 256 words."""

    blanking: float = Field(default=0.03, ge=0.0, lt=1.0)
    """Share of the cells that become missing or unknown while training, so that the network knows what that is."""


class Texts(_Section):
    """How texts become n-grams, features and logits of their own."""

    max_length: int = Field(default=1024, ge=1)
    """Code points that count; the rest of a longer text is cut, in training and in service."""

    min_texts: int = Field(default=2, ge=1)
    """An n-gram that fewer training texts hold gets no weights."""

    max_rows: int = Field(default=131_072, ge=1)
    """The most frequent n-grams that get weights: bounds file size and the time of a step."""

    width: int = Field(default=64, ge=1)
    """Features that go into the perceptron."""

    ngram_dropout: float = Field(default=0.7, ge=0.0, lt=1.0)
    """Share of a text's n-grams that the features do not see while training."""

    deep_rate: float = Field(default=0.1, gt=0.0)
    """Highest learning rate of the n-grams' features, by row-wise Adagrad."""

    wide_rate: float = Field(default=0.3, gt=0.0)
    """Highest learning rate of the n-grams' logits, by AdamW with eps 1e-3, which is nearly plain descent: the usual
    eps over-fits rare n-grams."""


class Model(_Section):
    """The multi-layer perceptron between features and logits."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (256, 128)
    """Width of each hidden layer; () is softmax regression."""

    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each hidden layer's outputs that is zeroed while training."""

    initialization: Literal["torch", "he", "prior"] = "torch"
    """`torch`: uniform ± 1/sqrt(fan-in). `he`: normal with variance 2/fan-in, biases 0 (He et al. 2015).
    `prior`: uniform with deviation 0.8/sqrt(fan-in), the last biases the logarithms of the classes' shares."""

    shortcut: bool = False
    """A linear map straight from features to logits beside the hidden layers."""

    members: int = Field(default=1, ge=1)
    """Networks side by side over the same features, each trained on its own order of the rows; the answer is their
    mean probability, one graph all the same."""


class Head(_Section):
    """The last layer: how it is trained and what the graph answers where there are many classes."""

    name: Literal["auto", "full", "chunked", "sampled", "plif", "sigsoftmax", "mixture", "adaptive"] = "auto"
    """`full`: all logits of a batch at once. `chunked`: the same loss, 8,192 classes at a time. `sampled`: against
    classes drawn by their frequency, with row-wise Adagrad. `auto`: the first up to 10,000 classes, the last above
    50,000. The other four are options that `auto` never takes: `plif`, `sigsoftmax` and `mixture` lift the rank,
    `adaptive` saves work on rare classes."""

    answer: Literal["auto", "full", "top"] = "auto"
    """`full`: all logits and probabilities. `top`: the 100 most probable classes and the logarithm of the partition
    sum. `auto`: the latter above 10,000 classes."""

    negatives: int = Field(default=8192, ge=1)
    """Of `sampled`: classes drawn in a step."""

    rate: float = Field(default=0.1, gt=0.0)
    """Of `sampled`: highest learning rate of the class vectors, by row-wise Adagrad."""

    components: int = Field(default=4, ge=1)
    """Of `mixture`: how many softmaxes."""

    pieces: int = Field(default=64, ge=1)
    """Of `plif`: straight pieces of the curve."""

    start: Literal["auto", "prior", "imprinted"] = "auto"
    """Of a last layer that is not `full`: small random vectors with the logarithms of the classes' shares as biases,
    or each class's mean of the hidden values. `auto`: the latter below 5 training rows a class, never for options."""

    trunk_rate: float = Field(default=1.0, ge=0.0, le=1.0)
    """Share of the learning rate for all layers below; 0 leaves them as they start, which suits imprinted vectors."""


class Loss(_Section):
    name: str = "cross_entropy"
    """A name in `training.losses.LOSSES`."""

    smoothing: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Of `label_smoothing`: share of the target that is spread over all classes."""

    focus: float = Field(default=2.0, ge=0.0)
    """Of `focal`: the exponent γ on 1 − p; 0 is cross-entropy."""

    norm_temperature: float = Field(default=0.04, gt=0.0)
    """Of `logit_norm`: the logits' vector gets the length 1 / this."""

    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: each class counts the same in the loss, however many rows it has."""


class Optimizer(_Section):
    name: str = "adamw"
    """A name in `training.optimizers.OPTIMIZERS`."""

    learning_rate: float = Field(default=3e-3, gt=0.0)
    """The highest rate of the schedule."""

    weight_decay: float = Field(default=0.0, ge=0.0)
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Of `sgd` only."""


class Schedule(_Section):
    name: str = "one_cycle"
    """A name in `training.optimizers.SCHEDULES`."""

    warmup: float = Field(default=0.25, ge=0.0, lt=1.0)
    """Share of all steps over which the rate rises to its highest."""


class Clipping(_Section):
    """What happens to the gradients between `backward` and `step`."""

    rule: str = "norm"
    """A name in `training.clipping.RULES`."""

    limit: float = Field(default=1.0, gt=0.0)
    """Its meaning depends on the rule: largest element (`value`), largest global norm (`norm`), …"""

    on_non_finite: Literal["stop", "skip"] = "stop"
    """A loss or gradient that is not finite ends the run, or leaves out this step and counts it."""


class Fit(_Section):
    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=128, ge=1)
    """Rows a step; the rows left over at the end of an epoch come in another order in the next."""

    keep: Literal["log_loss", "accuracy", "last"] = "log_loss"
    """Which epoch's weights are exported: the best on validation by this figure, or the last."""

    average: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Decay of the moving average of the weights, which is then what is validated and exported; 0 for none."""

    patience: int | None = Field(default=None, ge=1)
    """Stop after so many epochs without a better one; by default never."""


class Abstention(_Section):
    risk: float = Field(default=0.02, gt=0.0, lt=1.0)
    """Share of wrong answers among the accepted that the threshold is chosen for."""

    confidence_level: float = Field(default=0.95, gt=0.0, lt=1.0)
    """How sure it must be that new rows keep the risk."""


class Novelty(_Section):
    score: str = "together"
    """How the graph says how unlike the training rows a row is: a name in `training.novelty.SCORES`, or `none`."""


class Report(_Section):
    """What `report.html` and `report.json` may show."""

    mistakes: int = Field(default=12, ge=0, le=100)
    """Wrong rows of the test split that are shown as they are, and as many of the most novel ones; 0 where rows must
    not go with the model."""


class Baskets(_Section):
    """Of purchases: what is published."""

    max_history: int = Field(default=10_000, ge=1)
    """Purchases of one customer that a request may have."""

    below_baseline: Literal["refuse", "publish"] = "refuse"
    """Whether a model is published that is behind the best baseline in NDCG@10 or recall@20, beyond chance."""


class Start(_Section):
    """Which weights a run begins with."""

    version: Path | None = None
    """A published version, `models/<name>/<n>`, to go on from; by default all weights are new."""

    frozen_layers: int = Field(default=0, ge=0)
    """Hidden layers of that version, counted from the inputs, that stay as they are, and its encoders with them."""

    old_rate: float = Field(default=0.1, gt=0.0, le=1.0)
    """Share of the learning rate for that version's encoders and hidden layers; the answers' layer has all of it."""


Positive = Annotated[float, Field(gt=0.0)]


class Tune(_Section):
    """Where `clipmax tune` looks: the lowest and highest value of a field; two equal ones leave it alone."""

    pruner: Literal["median", "hyperband"] = "median"
    """`median`: a trial ends early when it is worse than the median of those before at the same epoch. `hyperband`:
    few epochs for many trials, all epochs for the best of them (Li et al. 2018)."""

    learning_rate: tuple[Positive, Positive] | None = None
    """Of `optimizer.learning_rate`, on a logarithmic scale; by default see the table of spaces."""

    width: tuple[Positive, Positive] | None = None
    """Factor on every width of `model.hidden`, on a logarithmic scale."""

    dropout: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]] | None = None
    """Of `model.dropout`."""

    weight_decay: tuple[Positive, Positive] | None = None
    """Of `optimizer.weight_decay`, on a logarithmic scale."""

    clip_limit: tuple[Positive, Positive] | None = None
    """Factor on `clipping.limit`, on a logarithmic scale."""

    @field_validator("learning_rate", "width", "dropout", "weight_decay", "clip_limit")
    @classmethod
    def _check_order(cls, ends: tuple[float, float] | None) -> tuple[float, float] | None:
        if ends is not None and ends[0] > ends[1]:
            raise ValueError("the lowest value before the highest")
        return ends


class Run(_Section):
    """The whole configuration of one run."""

    name: str = Field(pattern=NAME_PATTERN)
    """The model's name: the artifact becomes `<models>/<name>/<next version>`."""

    seed: int = Field(default=0, ge=0)
    """Of initialization, order, augmentation and dropout. Same seed, machine and threads: the same weights."""

    threads: int = Field(default=1, ge=1)
    """torch's threads. Two are a fifth faster than one for MNIST's network on two quiet cores, and many times slower
    where other programs use these cores too, because torch's threads spin while they wait. More pay for wide
    networks."""

    models: Path = Path("models")
    runs: Path = Path("runs")
    """Where checkpoints lie while a run is not finished."""

    data: Source
    images: Images = Images()
    rows: Rows = Rows()
    texts: Texts = Texts()
    model: Model = Model()
    head: Head = Head()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    clipping: Clipping = Clipping()
    fit: Fit = Fit()
    abstention: Abstention = Abstention()
    novelty: Novelty = Novelty()
    report: Report = Report()
    start: Start = Start()
    tune: Tune = Tune()
    baskets: Baskets = Baskets()
