"""One run = one typed, frozen, checked configuration, read from one TOML file.

Every default is written here and nowhere else. Paths under `[data]` are relative to the TOML file, `models` and
`runs` to the working directory.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clipmax.manifest import NAME_PATTERN
from clipmax.refusal import Refusal

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

    labels: tuple[str, ...] | None = None
    """The words for class 0, 1, …; by default the numbers themselves."""


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


Source = Annotated[IdxSource | NpzSource, Field(discriminator="source")]


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


class Images(_Section):
    """How pixels become features."""

    scaling: Literal["unit", "standard"] = "standard"
    """`unit`: 0..1. `standard`: mean 0 and standard deviation 1 over all pixels of the training split."""

    augmentation: Augmentation = Augmentation()


class Model(_Section):
    """The multi-layer perceptron between features and logits."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (256, 128)
    """Width of each hidden layer; () is softmax regression."""

    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each hidden layer's outputs that is zeroed while training."""

    initialization: Literal["torch", "he"] = "torch"
    """`torch`: uniform ± 1/sqrt(fan-in). `he`: normal with variance 2/fan-in, biases 0 (He et al. 2015)."""


class Loss(_Section):
    name: str = "cross_entropy"
    """A name in `training.losses.LOSSES`."""


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


class Run(_Section):
    """The whole configuration of one run."""

    name: str = Field(pattern=NAME_PATTERN)
    """The model's name: the artifact becomes `<models>/<name>/<next version>`."""

    seed: int = Field(default=0, ge=0)
    """Of initialization, order, augmentation and dropout. Same seed, machine and threads: the same weights."""

    threads: int | None = Field(default=None, ge=1)
    """torch's threads; by default the cores this process may use."""

    models: Path = Path("models")
    runs: Path = Path("runs")
    """Where checkpoints lie while a run is not finished."""

    data: Source
    images: Images = Images()
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    clipping: Clipping = Clipping()
    fit: Fit = Fit()


def read(path: Path, overrides: Sequence[str] = ()) -> Run:
    """The run of a TOML file, with `key=value` overrides applied.

    Args:
        path: the file.
        overrides: dotted keys and TOML values, e.g. `fit.epochs=3`; a value that is no TOML is taken as a string.

    Raises:
        Refusal: not readable, no TOML, an unknown key, a bad value.
    """
    document = _parse(path)
    for override in overrides:
        _apply(document, override)
    try:
        run = Run.model_validate(document)
    except ValidationError as error:
        raise Refusal.from_validation(path, error) from error
    _check_names(path, run)
    return _resolve(run, path.resolve().parent)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(path, "file", expected="a readable TOML file", found=error.strerror or "an error") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise Refusal(path, "file", expected="TOML in UTF-8", found=str(error)) from error


def _apply(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise Refusal("--set", override, expected="key=value", found="no value")
    *sections, last = key.strip().split(".")
    place = document
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise Refusal("--set", key, expected="a section", found=f"{section} is a value")
    place[last] = _value(text)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_names(path: Path, run: Run) -> None:
    """The names that are looked up in tables of other modules; those import torch, so only here and late."""
    from training.clipping import RULES
    from training.losses import LOSSES
    from training.optimizers import OPTIMIZERS, SCHEDULES

    for field, name, table in (
        ("clipping.rule", run.clipping.rule, RULES),
        ("loss.name", run.loss.name, LOSSES),
        ("optimizer.name", run.optimizer.name, OPTIMIZERS),
        ("schedule.name", run.schedule.name, SCHEDULES),
    ):
        if name not in table:
            raise Refusal(path, field, expected=f"one of {', '.join(sorted(table))}", found=repr(name))


def _resolve(run: Run, folder: Path) -> Run:
    """Paths of the data, made independent of the working directory."""
    resolved = {
        field: folder / value for field, value in run.data if isinstance(value, Path) and not value.is_absolute()
    }
    return run.model_copy(update={"data": run.data.model_copy(update=resolved)})
