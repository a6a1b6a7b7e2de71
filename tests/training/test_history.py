"""What all trials together say: the best, the counts, and what the manifest gets."""

from __future__ import annotations

from training.history import History, Trial


def _trial(number: int, state: str, value: float | None = None) -> Trial:
    return Trial.model_validate(
        {"number": number, "state": state, "value": value, "epochs": 3, "parameters": {"width": 2.0}, "reason": None}
    )


HISTORY = History(
    seed=7,
    trials=(
        _trial(0, "completed", 0.5),
        _trial(1, "failed"),
        _trial(2, "completed", 0.25),
        _trial(3, "pruned"),
        _trial(4, "completed", 0.25),
        _trial(5, "completed", 0.75),
    ),
    importance={},
)


def test_the_best_is_the_first_of_the_lowest() -> None:
    """Pruned and failed ones have no value."""
    assert HISTORY.best.number == 2
    assert HISTORY.best_so_far() == [(0, 0.5), (2, 0.25), (4, 0.25), (5, 0.25)]


def test_the_manifest_counts_every_trial() -> None:
    """Also those that came to nothing: the best of a hundred is another thing than the best of three."""
    found = HISTORY.summary()
    assert (found.trials, found.completed, found.pruned, found.failed) == (6, 4, 1, 1)
    assert (found.best_trial, found.best_value, found.parameters, found.seed) == (2, 0.25, {"width": 2.0}, 7)
