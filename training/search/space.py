"""Where a search looks: a few parameters, each with a lowest and a highest value, and what they do to a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from clipmax.refusal import Refusal
from training import clipping, defaults
from training.config import Run
from training.data.dataset import Dataset


class Interval(NamedTuple):
    """Both ends belong to it; equal ones leave the parameter as the configuration has it."""

    low: float
    high: float


Space = Mapping[str, Interval]
"""Field of `[tune]` → where it is searched."""

SPACES: Mapping[str, Space] = MappingProxyType({
    "image": {
        "learning_rate": Interval(5e-4, 1e-2),
        "width": Interval(0.5, 4.0),
        "dropout": Interval(0.0, 0.5),
        "weight_decay": Interval(1e-4, 0.1),
        "clip_limit": Interval(0.1, 10.0),
    },
    "rows": {
        "learning_rate": Interval(3e-4, 1e-2),
        "width": Interval(0.5, 2.0),
        "dropout": Interval(0.0, 0.5),
        "weight_decay": Interval(1e-3, 0.3),
        "clip_limit": Interval(0.1, 10.0),
    },
    "text": {
        "learning_rate": Interval(2e-3, 3e-2),
        "width": Interval(0.5, 2.0),
        "dropout": Interval(0.0, 0.5),
        "weight_decay": Interval(1e-3, 0.1),
        "clip_limit": Interval(0.1, 10.0),
    },
})  # fmt: skip
"""Family of inputs, as in `training.defaults` → its space."""

LINEAR = frozenset({"dropout"})
"""All others are searched on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    """The field of a run that a parameter sets, and how."""

    field: str
    values: Callable[[Run, float], Mapping[str, Any]]


_PARAMETERS: Mapping[str, _Parameter] = MappingProxyType({
    "learning_rate": _Parameter("optimizer", lambda _, value: {"learning_rate": value}),
    "width": _Parameter("model", lambda run, value: {"hidden": widened(run.model.hidden, value)}),
    "dropout": _Parameter("model", lambda _, value: {"dropout": value}),
    "weight_decay": _Parameter("optimizer", lambda _, value: {"weight_decay": value}),
    "clip_limit": _Parameter("clipping", lambda run, value: {"limit": run.clipping.limit * value}),
})  # fmt: skip


def space_of(run: Run, dataset: Dataset) -> Space:
    """Where this run is searched: what `[tune]` says, else the space of its family; what has no effect is left out.

    Raises:
        Refusal: a clipping limit that the rule cannot use; nothing to search.
    """
    given = run.tune.model_dump(exclude={"pruner"}, exclude_none=True)
    merged = {name: Interval(*given.get(name, interval)) for name, interval in SPACES[defaults.family(dataset)].items()}
    space = {name: each for name, each in merged.items() if each.low < each.high and _has_effect(name, run)}
    if not space:
        raise Refusal("configuration", "tune", expected="a parameter to search", found="none that has an effect")
    if "clip_limit" in space:
        _check_limit(run, space["clip_limit"])
    return space


def _check_limit(run: Run, factors: Interval) -> None:
    highest = run.clipping.limit * factors.high
    if not clipping.accepts(run.clipping.rule, highest):
        expected = f"factors whose limits {run.clipping.rule} can use"
        raise Refusal("configuration", "tune.clip_limit", expected=expected, found=f"a limit of {highest:g}")


def _has_effect(name: str, run: Run) -> bool:
    if name in {"width", "dropout"} and not run.model.hidden:
        return False
    if name == "width" and run.start.version is not None:
        return False  # the widths are those of the version
    return name != "clip_limit" or run.clipping.rule != "none"


def apply(run: Run, parameters: Mapping[str, float]) -> Run:
    """The run with these parameters in place of its own values."""
    changed = run
    for name, value in parameters.items():
        parameter = _PARAMETERS[name]
        section = getattr(changed, parameter.field).model_copy(update=dict(parameter.values(run, value)))
        changed = changed.model_copy(update={parameter.field: section})
    return changed


def widened(hidden: tuple[int, ...], factor: float) -> tuple[int, ...]:
    """Every width times the factor, at least 1."""
    return tuple(max(1, round(width * factor)) for width in hidden)
