"""Novelty scores on validation and test → how they are spread, whether their p-values hold, the most novel rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clipmax.inputs import Input
from clipmax.novelty import Novelty, p_values
from training import conformal
from training.answers import Answers
from training.data.dataset import Split
from training.report import figures
from training.report.mistakes import show

LEVELS = (0.05, 0.01)
_BINS = 40
_SHOWN_INPUTS = 40


def novelty_figures(
    table: Novelty,
    calibration: Answers,
    test: Answers,
    *,
    split: Split,
    inputs: Sequence[Input],
    labels: Sequence[str],
    count: int,
) -> figures.Novelty:
    """All that the report says about novelty.

    Args:
        table: of the calibration rows.
        calibration: answers for them.
        test: answers for the rows of `split`.
        split: the test split.
        inputs: its schema.
        labels: the words of the classes.
        count: how many of the most novel rows to show.
    """
    usual, found = _scores(calibration), _scores(test)
    edges = np.histogram_bin_edges(np.concatenate([usual, found]), bins=_BINS)
    return figures.Novelty(
        score=table.score,
        limit=_limit(table),
        edges=tuple(edges.tolist()),
        calibration=tuple(np.histogram(usual, edges)[0].tolist()),
        test=tuple(np.histogram(found, edges)[0].tolist()),
        found=found_novel(table, test),
        most=_most(table, test, split=split, inputs=inputs, labels=labels, count=count),
    )


def found_novel(table: Novelty, test: Answers) -> tuple[figures.FoundNovel, ...]:
    """How many of the rows get a p-value of at most each of some levels, beside what rows like training's should."""
    values = p_values(table, _scores(test))
    return tuple(
        figures.FoundNovel(
            level=level,
            rows=len(values),
            calibration_rows=table.rows,
            share=float(np.mean(values <= level)),
            noise=conformal.noise(level, table.rows, len(values)),
        )
        for level in LEVELS
    )


def _scores(answers: Answers) -> npt.NDArray[np.float32]:
    assert answers.novelty is not None  # noqa: S101  # the caller looks first
    return answers.novelty


def _limit(table: Novelty) -> float | None:
    """The highest calibration score whose p-value is above the first level: None if all are."""
    values, steps = table.steps
    usual = values[steps[:-1] > LEVELS[0]]
    return None if steps[-1] > LEVELS[0] else float(usual[-1])


def _most(
    table: Novelty, test: Answers, *, split: Split, inputs: Sequence[Input], labels: Sequence[str], count: int
) -> tuple[figures.Novel, ...]:
    scores, values = _scores(test), p_values(table, _scores(test))
    predicted = test.probabilities.argmax(axis=1)
    return tuple(
        figures.Novel(
            row=row,
            score=float(scores[row]),
            p_value=float(values[row]),
            true=labels[split.labels[row]],
            predicted=labels[predicted[row]],
            probability=float(test.probabilities[row, predicted[row]]),
            inputs=tuple(show(schema, split.columns[schema.name][row]) for schema in inputs[:_SHOWN_INPUTS]),
        )
        for row in np.argsort(-scores, kind="stable")[:count].tolist()
    )
