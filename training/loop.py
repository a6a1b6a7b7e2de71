"""The training step in one view, and what surrounds it: epochs, validation, the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clipmax.refusal import Refusal
from training import averaging, clipping, config, losses, metrics, observation, optimizers
from training.data.dataset import Dataset, Indices, Split
from training.diagnostics import Diagnostics
from training.features import augmentation, columns
from training.gradients import Gradients
from training.many import judging
from training.model import Classifier
from training.runtime import derive_seed

_EVALUATION_ROWS = 4096
_TRAIN_SAMPLE_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What one step measured, as numbers: small tensors that outlive their step would lie between the large ones of the
    next, which then find no room where the last ones were; in an epoch of many classes that came to gigabytes.
    """

    loss: float
    norm: float
    largest: float
    fired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFigures:
    """One line of the epoch table. Norms are global L2 norms of the gradient before clipping."""

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    validation_log_loss: float
    grad_norm_median: float
    grad_norm_max: float
    grad_largest: float
    clipped_share: float
    skipped_steps: int
    samples_per_second: float
    seconds: float
    """Of the steps alone."""
    diagnostics: Diagnostics
    is_sampled: bool = False
    """Whether `loss` is an estimate over sampled classes; the log loss on validation never is."""

    def line(self) -> str:
        loss = "sampled loss" if self.is_sampled else "loss"
        return (
            f"epoch {self.epoch:3d}  {loss} {self.loss:.4f}  train {self.train_accuracy:.4f}  "
            f"validation {self.validation_accuracy:.4f} (log loss {self.validation_log_loss:.4f})  "
            f"grad norm {self.grad_norm_median:.3g} (max {self.grad_norm_max:.3g})  "
            f"clipped {self.clipped_share:.1%}  {self.samples_per_second:,.0f} rows/s"
            + (f"  skipped {self.skipped_steps} steps" if self.skipped_steps else "")
        )


@dataclass(slots=True)
class Progress:
    """How far a run is: all that a checkpoint must hold for the rest to come out bit for bit the same."""

    model: Classifier
    optimizer: torch.optim.Optimizer
    norms: clipping.NormHistory
    epochs: list[EpochFigures] = field(default_factory=list)
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    """Parameter name → moving average; empty where `fit.average` is 0."""
    class_weights: Tensor | None = None
    """float32 [K], of the loss; made from the data, so not in a checkpoint."""
    _gradients: Gradients | None = field(default=None, init=False, repr=False)

    def settle(self) -> None:
        """The best weights into the model; their copy and what only training needs are let go."""
        self.model.load_state_dict(self.best_weights)
        self.best_weights, self.average = {}, {}
        self.optimizer.state.clear()
        self.optimizer.zero_grad()
        self._gradients = None

    @property
    def gradients(self) -> Gradients:
        """Of the weights; made at the first step, when it is settled which of them are frozen."""
        if self._gradients is None:
            self._gradients = Gradients(self.model)
        return self._gradients


class NonFiniteError(Exception):
    """The loss or a gradient is NaN or infinite; says in which step, the loss, which tensor, and its norm."""


def train_step(
    progress: Progress, run: config.Run, batch: Sequence[Tensor], labels: Tensor, *, step: int
) -> StepFigures:
    """Forward, backward, clip, step: in this order. Clipping after `step` would change nothing any more.

    Args:
        progress: whose weights, optimizer and norm history change.
        run: for the loss and the clipping rule.
        batch: one tensor an input, [N, …], or `Bags` for a text.
        labels: int64 [N].
        step: counted from 0 over the whole run, for the message.

    Raises:
        NonFiniteError: before the weights are touched.
    """
    gradients, rule = progress.gradients, run.clipping.rule
    loss = gradients.fill(batch, labels, losses.build(run.loss, progress.class_weights))
    clipped = clipping.RULES[rule](gradients.seen_by(rule), run.clipping.limit, progress.norms)
    _check_finite(progress.model, loss, clipped.norm, step)
    progress.optimizer.step()
    seen = (clipped.norm, clipped.largest, clipped.fired)
    return StepFigures(loss.item(), *(value.item() for value in seen))  # type: ignore[arg-type]  # of three dtypes


def fit(
    progress: Progress,
    run: config.Run,
    dataset: Dataset,
    *,
    on_step: Callable[[], None] = lambda: None,
    on_epoch: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Train from where `progress` stands to the last epoch, or until patience is exhausted.

    Raises:
        Refusal: a configuration that cannot work on this data; a non-finite step when `on_non_finite` is "stop".
    """
    steps = steps_per_epoch(run, dataset)
    for epoch in range(len(progress.epochs), run.fit.epochs):
        if _is_exhausted(progress, run.fit.patience):
            break
        started = time.perf_counter()
        figures = _train_epoch(progress, run, dataset, epoch=epoch, steps=steps, on_step=on_step)
        seconds = time.perf_counter() - started
        with averaging.applied(progress.average, progress.model):
            progress.epochs.append(_summarize(progress, run, dataset, figures, steps=steps, seconds=seconds))
            _keep_best(progress, run.fit.keep)
        on_epoch(progress)


def steps_per_epoch(run: config.Run, dataset: Dataset) -> int:
    """Whole batches in the training split.

    Raises:
        Refusal: the batch is larger than the data.
    """
    rows, batch = len(dataset.train), run.fit.batch_size
    if batch > rows:
        raise Refusal("configuration", "fit.batch_size", expected=f"at most the {rows} training rows", found=str(batch))
    return rows // batch


def logits_of(model: Classifier, dataset: Dataset, split: Split) -> npt.NDArray[np.float32]:
    """Logits of every row of a split, float32 [rows, K], in evaluation mode and in chunks of bounded memory."""
    model.eval()
    chunks = []
    with torch.no_grad():
        for start in range(0, len(split), _EVALUATION_ROWS):
            rows = slice(start, start + _EVALUATION_ROWS)
            chunks.append(model(*columns.batch(dataset.inputs, split, rows)))
    return torch.cat(chunks).numpy()


def _train_epoch(
    progress: Progress,
    run: config.Run,
    dataset: Dataset,
    *,
    epoch: int,
    steps: int,
    on_step: Callable[[], None],
) -> list[StepFigures]:
    """What each step of one epoch that was not skipped measured.

    Its randomness depends on seed and epoch alone, so a resumed run repeats it.
    """
    torch.manual_seed(derive_seed(run.seed, epoch, 0))
    progress.model.train()
    figures = []
    for index, (batch, labels) in enumerate(batches(run, dataset, epoch=epoch)):
        step = epoch * steps + index
        rate = learning_rate(run, step / (steps * run.fit.epochs))
        optimizers.set_learning_rate(progress.optimizer, rate)
        try:
            figures.append(train_step(progress, run, batch, labels, step=step))
            if run.fit.average:
                averaging.move(progress.average, progress.model, decay=run.fit.average, step=step)
        except NonFiniteError as error:
            if run.clipping.on_non_finite == "stop":
                raise Refusal("training", f"step {step}", expected="finite numbers", found=str(error)) from error
        on_step()
    return figures


def learning_rate(run: config.Run, progress: float) -> float:
    """The rate at a share 0..1 of the run."""
    return run.optimizer.learning_rate * optimizers.SCHEDULES[run.schedule.name](progress, run.schedule.warmup)


def batches(run: config.Run, dataset: Dataset, *, epoch: int) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Inputs and labels int64 of each step of an epoch, images changed at random; seed and epoch decide all of it."""
    generator = torch.Generator().manual_seed(derive_seed(run.seed, epoch, 1))
    steps = steps_per_epoch(run, dataset)
    for rows in _orders(len(dataset.train), run.fit.batch_size, steps, run.model.members, generator):
        batch = _batch(dataset, rows, run.images.augmentation, generator)
        yield batch, torch.from_numpy(dataset.train.labels[rows])


def _orders(rows: int, size: int, steps: int, members: int, generator: torch.Generator) -> Iterator[Indices]:
    """Row numbers [members · size] of each step, every member's own part in its own order."""
    orders = [torch.randperm(rows, generator=generator).numpy() for _ in range(members)]
    for step in range(steps):
        parts = [order[step * size : (step + 1) * size] for order in orders]
        yield parts[0] if members == 1 else np.concatenate(parts)


def _batch(dataset: Dataset, rows: Indices, settings: config.Augmentation, generator: torch.Generator) -> list[Tensor]:
    """Training rows as tensors, images changed at random."""
    batch = columns.batch(dataset.inputs, dataset.train, rows)
    if not augmentation.is_active(settings):
        return batch
    return [
        augmentation.augment(column, settings, generator) if schema.kind == "image" else column
        for schema, column in zip(dataset.inputs, batch, strict=True)
    ]


def _check_finite(model: Classifier, loss: Tensor, norm: Tensor, step: int) -> None:
    if math.isfinite(loss.item()) and math.isfinite(norm.item()):
        return
    gradient = clipping.non_finite(model.named_parameters()) or f"gradients of norm {norm.item()}"
    named = ", ".join(part for part in (_non_finite_weight(model), gradient) if part)
    raise NonFiniteError(f"loss {loss.item()}, {named} in step {step}")


def _non_finite_weight(model: Classifier) -> str | None:
    """The first weight that is not finite and its norm, in words; None if all are."""
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            return f"weight {name} (norm {weight.detach().norm().item()})"
    return None


def _summarize(
    progress: Progress,
    run: config.Run,
    dataset: Dataset,
    figures: list[StepFigures],
    *,
    steps: int,
    seconds: float,
) -> EpochFigures:
    model, epoch = progress.model, len(progress.epochs) + 1
    if not figures:
        raise Refusal("training", f"epoch {epoch}", expected="a step with finite numbers", found="none")
    norms = torch.tensor([figure.norm for figure in figures])
    accuracy, log_loss = _look(model, dataset, dataset.selection)
    if not math.isfinite(log_loss):
        found = f"NaN or infinity after step {epoch * steps - 1}, {_non_finite_weight(model) or 'all weights finite'}"
        raise Refusal("training", f"epoch {epoch}", expected="finite logits on validation", found=found)
    sample = dataset.train.take(observation.evenly(len(dataset.train), _TRAIN_SAMPLE_ROWS))
    return EpochFigures(
        epoch=epoch,
        loss=float(torch.tensor([figure.loss for figure in figures]).mean()),
        train_accuracy=_look(model, dataset, sample)[0],
        validation_accuracy=accuracy,
        validation_log_loss=log_loss,
        grad_norm_median=float(norms.median()),
        grad_norm_max=float(norms.max()),
        grad_largest=max(figure.largest for figure in figures),
        clipped_share=sum(figure.fired for figure in figures) / len(figures),
        skipped_steps=steps - len(figures),
        samples_per_second=steps * run.fit.batch_size / seconds,
        seconds=seconds,
        diagnostics=_diagnose(progress, run, dataset),
        is_sampled=model.head is not None and model.head.is_sparse,
    )


def _look(model: Classifier, dataset: Dataset, split: Split) -> tuple[float, float]:
    """Accuracy and exact log loss of a split; of very many classes on part of its rows; NaN if not finite."""
    if model.head is not None:
        found = judging.judge(model, dataset, split.take(judging.look_rows(len(split), model.head.classes)))
        return float(found.correct.mean()), float(found.log_loss.mean())
    logits = logits_of(model, dataset, split)
    if not np.isfinite(logits).all():
        return metrics.accuracy(logits, split.labels), math.nan
    return metrics.accuracy(logits, split.labels), metrics.log_loss(logits, split.labels)


def _diagnose(progress: Progress, run: config.Run, dataset: Dataset) -> Diagnostics:
    rows = observation.sample(len(dataset.train), len(dataset.labels))
    if run.clipping.on_non_finite == "skip":  # such a row has cost its step already, and must not cost the run
        rows = rows[np.isfinite(logits_of(progress.model, dataset, dataset.train.take(rows))).all(axis=1)]
    return observation.observe(
        progress.model,
        columns.batch(dataset.inputs, dataset.train, rows),
        torch.from_numpy(dataset.train.labels[rows]),
        losses.build(run.loss, progress.class_weights),
    )


def _is_exhausted(progress: Progress, patience: int | None) -> bool:
    return patience is not None and len(progress.epochs) - progress.best_epoch >= patience


def _keep_best(progress: Progress, keep: str) -> None:
    """Copy the weights when the newest epoch is the best so far by the chosen figure."""
    last = progress.epochs[-1]
    best = progress.epochs[progress.best_epoch - 1] if progress.best_epoch else None
    better = {
        "last": True,
        "accuracy": best is None or last.validation_accuracy > best.validation_accuracy,
        "log_loss": best is None or last.validation_log_loss < best.validation_log_loss,
    }[keep]
    if better:
        progress.best_epoch = last.epoch
        _copy(progress.model.state_dict(), progress.best_weights)


def _copy(weights: Mapping[str, Tensor], kept: dict[str, Tensor]) -> None:
    """Over what was kept before, where there is something: two copies of very many classes are a gigabyte."""
    for name, value in weights.items():
        if name in kept:
            kept[name].copy_(value)
        else:
            kept[name] = value.clone()
