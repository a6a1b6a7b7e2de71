"""A run's `[head]` section and its data → the same with every choice made, or a refusal of what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clipmax.refusal import Refusal
from training.config import Run
from training.data.dataset import Dataset
from training.heads import table

_FEW_ROWS = 5
_APART: Mapping[str, Mapping[str, Any]] = {
    "model": {"members": 1, "shortcut": False, "initialization": "torch"},
    "fit": {"average": 0.0},
    "novelty": {"score": "none"},
}
"""What a last layer that stands apart asks of the other sections: a second table as large as the classes, or a score
that needs all probabilities, is what it is there to avoid."""


def fill(run: Run, dataset: Dataset, *, given: Run) -> Run:
    """The run with a head, an answer and a start chosen, and with what they ask of other sections.

    Args:
        run: with the values that suit its kinds of input.
        dataset: whose classes decide.
        given: the same as the file has it: what it sets itself is refused rather than replaced.

    Raises:
        Refusal: a setting of the file itself that does not go with the head.
    """
    classes, head = len(dataset.labels), run.head
    if classes <= table.FULL_CLASSES and head.name == head.answer == "auto":
        return run
    if classes > table.FULL_CLASSES and head.answer == "full":
        expected = f"top, or at most {table.FULL_CLASSES:,} classes"
        raise Refusal("configuration", "head.answer", expected=expected, found=f"full for {classes:,} classes")
    chosen: dict[str, Any] = {
        "name": table.choose(classes) if head.name == "auto" else head.name,
        "answer": ("top" if classes > table.FULL_CLASSES else "full") if head.answer == "auto" else head.answer,
    }
    if head.start == "auto":
        is_imprinted = chosen["name"] in table.LINEAR and len(dataset.train) < _FEW_ROWS * classes
        chosen["start"] = "imprinted" if is_imprinted else "prior"
    run = run.model_copy(update={"head": head.model_copy(update=chosen)})
    return _apart(run, given) if table.has_own_layer(run.head) else run


def _apart(run: Run, given: Run) -> Run:
    _check(run)
    for section, values in _APART.items():
        asked = getattr(given, section)
        for field, value in values.items():
            if field in asked.model_fields_set and getattr(asked, field) != value:
                raise _refusal(run, f"{section}.{field}", expected=str(value), found=str(getattr(asked, field)))
        run = run.model_copy(update={section: getattr(run, section).model_copy(update=values)})
    return run


def _check(run: Run) -> None:
    if not run.model.hidden:
        raise _refusal(run, "model.hidden", expected="at least one hidden layer", found="none")
    if run.start.version is not None:
        raise _refusal(run, "start.version", expected="none", found=str(run.start.version))
    if run.head.start == "imprinted" and run.head.name not in table.LINEAR:
        raise _refusal(run, "head.start", expected="auto or prior", found="imprinted")
    if run.clipping.rule == "agc" and run.head.name == "adaptive":
        raise _refusal(run, "clipping.rule", expected="another rule", found="agc, which spares one last matrix only")
    if run.loss.name != "cross_entropy" or run.loss.class_weights != "none":
        found = f"{run.loss.name}, class weights {run.loss.class_weights}"
        raise _refusal(run, "loss", expected="cross_entropy without class weights", found=found)


def _refusal(run: Run, field: str, *, expected: str, found: str) -> Refusal:
    return Refusal("configuration", field, expected=f"{expected}, with the head {run.head.name}", found=found)
