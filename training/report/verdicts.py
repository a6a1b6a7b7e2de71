"""Figures of a run → what they mean, a sentence each, and whether it needs a look."""

from __future__ import annotations

from training.abstention import clopper_pearson_upper
from training.report.figures import Novelty, PredictionSets, Report, Verdict

_ALWAYS_CLIPPED = 0.9
_GAP = 0.02
_HALF = 0.5


def verdicts(report: Report) -> tuple[Verdict, ...]:
    """The questions a reviewer asks first, answered from the figures alone."""
    return (
        _calibration(report),
        _selective(report),
        *(_coverage(sets) for sets in report.prediction_sets if sets.method == "plain" and sets.asked in {0.9, 0.95}),
        *([_novelty(report.novelty)] if report.novelty else []),
        _generalization(report),
        _clipping(report),
        _worst_class(report),
    )


def _calibration(report: Report) -> Verdict:
    test = report.test
    found = (
        f"After the temperature ({report.temperature:.3f}) the calibration error on test is {test.metrics.ece:.2%} "
        f"({test.metrics.ece_uncalibrated:.2%} before); a perfectly calibrated model of {test.metrics.rows:,} rows "
        f"shows {test.ece_noise_mean:.2%} by chance, in 5 of 100 samples more than {test.ece_noise_upper:.2%}"
    )
    fitted = test.ece_noise_upper_fitted
    if fitted is not None:
        rows = report.validation.metrics.rows
        found += f", and more than {fitted:.2%} where its temperature is fitted on {rows:,} rows"
    if test.metrics.ece <= max(test.ece_noise_upper, fitted or 0.0):
        return Verdict(name="calibration", good=True, sentence=f"{found}: no miscalibration can be seen.")
    if test.metrics.ece <= 0.01:
        return Verdict(name="calibration", good=True, sentence=f"{found}: a small miscalibration, at most one point.")
    return Verdict(name="calibration", good=False, sentence=f"{found}: the probabilities are off by more than chance.")


def _selective(report: Report) -> Verdict:
    chosen, test = report.selective.chosen, report.selective.test
    promise = f"a risk of {chosen.risk:.1%} at {chosen.confidence_level:.0%} confidence"
    if chosen.threshold is None:
        sentence = f"No threshold was shown to keep {promise} on {chosen.rows:,} calibration rows: every row abstains."
        return Verdict(name="abstention", good=False, sentence=sentence)
    found = f"Promised {promise}: on test {test.coverage:.1%} of the rows are answered"
    if test.risk is None:
        return Verdict(name="abstention", good=False, sentence=f"{found}, so the risk cannot be seen.")
    found += f", {test.risk:.2%} of them wrong (95% interval {test.risk_low:.2%} to {test.risk_high:.2%})"
    kept = test.risk_low <= chosen.risk
    return Verdict(name="abstention", good=kept, sentence=f"{found}: {_kept(kept, seen=test.risk <= chosen.risk)}.")


def _kept(kept: bool, *, seen: bool) -> str:
    """Of a promise; `seen` says whether the figure itself is as good as promised, and not only as good as by chance."""
    if not kept:
        return "not kept"
    return "kept" if seen else "kept, within chance"


def _coverage(sets: PredictionSets) -> Verdict:
    name = f"coverage_{sets.asked:.0%}".rstrip("%")
    if sets.threshold is None:
        sentence = (
            f"{sets.calibration_rows} calibration rows are too few to promise {sets.asked:.0%}: all labels answer."
        )
        return Verdict(name=name, good=False, sentence=sentence)
    kept = sets.coverage >= sets.asked - max(sets.noise, 0.01)
    return Verdict(
        name=name,
        good=kept,
        sentence=(
            f"Sets asked to hold the true class in {sets.asked:.0%} of cases held it in {sets.coverage:.1%} on test "
            f"(chance: ± {sets.noise:.1%}), with {sets.mean_size:.2f} labels on average: "
            f"{_kept(kept, seen=sets.coverage >= sets.asked)}."
        ),
    )


def _novelty(found: Novelty) -> Verdict:
    first = found.found[0]
    kept = first.share <= first.level + max(first.noise, 0.01)
    return Verdict(
        name="novelty",
        good=kept,
        sentence=(
            f"{first.share:.1%} of the test rows are as novel as the {first.level:.0%} most novel calibration rows "
            f"(chance: ± {first.noise:.1%})"
            + (": like the rows it was trained on." if kept else ": test rows are unlike the rows it was trained on.")
        ),
    )


def _generalization(report: Report) -> Verdict:
    kept = report.epochs[report.best_epoch - 1]
    gap = kept.train_accuracy - report.test.metrics.accuracy
    return Verdict(
        name="generalization",
        good=gap <= _GAP,
        sentence=(
            f"Epoch {report.best_epoch} of {len(report.epochs)} was kept: accuracy {kept.train_accuracy:.2%} on "
            f"training rows, {report.test.metrics.accuracy:.2%} on test "
            f"(95% interval {report.test.accuracy_low:.2%} to {report.test.accuracy_high:.2%})"
            + (": it knows the training rows better; more data, dropout or weight decay help." if gap > _GAP else ".")
        ),
    )


def _clipping(report: Report) -> Verdict:
    found = report.clipping
    sentence = (
        f"The clipping rule {found.rule} ({found.limit:g}) shortened the gradient in {found.clipped_share:.1%} of steps"
    )
    if found.skipped_steps:
        sentence += f"; {found.skipped_steps} steps were left out because loss or gradient was not finite"
        return Verdict(name="clipping", good=False, sentence=f"{sentence}: look at inputs and learning rate.")
    if found.rule != "none" and found.clipped_share == 0:
        return Verdict(name="clipping", good=True, sentence=f"{sentence}: it was a safeguard that was never needed.")
    if found.clipped_share > _ALWAYS_CLIPPED:
        sentence = f"{sentence}: the limit, not the learning rate, sets the step; raise it or lower the rate."
        return Verdict(name="clipping", good=False, sentence=sentence)
    return Verdict(name="clipping", good=True, sentence=f"{sentence}; no step was left out.")


def _worst_class(report: Report) -> Verdict:
    worst = min((one for one in report.per_class if one.support), key=lambda one: one.recall)
    highest = clopper_pearson_upper(round(worst.recall * worst.support), worst.support, 0.025)
    is_open = worst.recall < _HALF <= highest
    return Verdict(
        name="worst_class",
        good=highest >= _HALF,
        sentence=(
            f"The class recognized least is {worst.label}: {worst.recall:.1%} of its {worst.support:,} test rows "
            f"(95% interval up to {highest:.1%}){': too few rows to call it missed' if is_open else ''}."
        ),
    )
