"""The subcommands of the training half: arguments in, lines or JSON out; the work is imported when it is asked for."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipmax.cli import DONE, FAILED, INTERRUPTED, Command
from clipmax.refusal import Refusal

if TYPE_CHECKING:
    from pydantic import BaseModel

    from training.config import Run
    from training.outcome import Outcome
    from training.tracking import Tracker


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN.toml", help="the configuration of the run")
    parser.add_argument("--init", type=Path, metavar="DATA", help="write a RUN.toml for this table or image folder")
    parser.add_argument("--label", metavar="COLUMN", help="with --init: the column of a table to predict")
    parser.add_argument("--name", help="with --init: the model's name; by default from that of the data")
    parser.add_argument("--output", type=Path, metavar="RUN.toml", help="with --init: by default <name>.toml")
    parser.add_argument("--find-rate", action="store_true", help="try learning rates, suggest one, and train nothing")
    parser.set_defaults(wrong_usage=parser.error)
    _configure_overrides(parser)
    parser.add_argument(
        "--from",
        dest="version",
        type=Path,
        metavar="VERSION_FOLDER",
        help="go on from a published version, models/<name>/<n>; the same as --set start.version=…",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of this name")
    parser.add_argument("--tensorboard", type=Path, metavar="DIR", help="write TensorBoard's event files there")
    parser.add_argument(
        "--wandb", metavar="PROJECT", help="follow the run in Weights & Biases; WANDB_MODE=offline works"
    )
    parser.add_argument("--mlflow", metavar="EXPERIMENT", help="follow the run in MLflow at MLFLOW_TRACKING_URI")


def _configure_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one field, e.g. fit.epochs=3; may be given again",
    )


def _run(arguments: argparse.Namespace) -> int:
    _check_usage(arguments)
    if arguments.init is not None:
        return _initialize(arguments)
    return _find_rate(arguments) if arguments.find_rate else _train(arguments)


def _check_usage(arguments: argparse.Namespace) -> None:
    """What argparse cannot say itself: one of RUN.toml and --init, and what goes with which. Ends with exit code 2."""
    if (arguments.run is None) == (arguments.init is None):
        arguments.wrong_usage("one of RUN.toml and --init is needed")
    if arguments.init is None and (arguments.label or arguments.name or arguments.output):
        arguments.wrong_usage("--label, --name and --output go with --init")
    trains = arguments.find_rate or arguments.resume or arguments.overrides or arguments.version
    if arguments.init is not None and trains:
        arguments.wrong_usage("--init trains nothing: no --set, --from, --resume or --find-rate")
    if arguments.version is not None:
        arguments.overrides.append(f"start.version={json.dumps(str(arguments.version))}")


def _initialize(arguments: argparse.Namespace) -> int:
    from training import initial

    path = initial.write(arguments.init, label=arguments.label, name=arguments.name, output=arguments.output)
    _say(f"wrote {path}; train with: {shlex.join(['clipmax', 'train', str(path)])}")
    return DONE


def _find_rate(arguments: argparse.Namespace) -> int:
    from training import rate_range, run_file

    for line in rate_range.lines(rate_range.find(run_file.read(arguments.run, arguments.overrides))):
        _say(line)
    return DONE


def _train(arguments: argparse.Namespace) -> int:
    from training import run, run_file

    configuration = run_file.read(arguments.run, arguments.overrides)
    if configuration.data.source == "events":
        return _train_next_basket(configuration, arguments)
    try:
        outcome = run.train(configuration, resume=arguments.resume, say=_say, tracker=_tracker(arguments))
    except KeyboardInterrupt:
        again = ["clipmax", "train", str(arguments.run), *(f"--set={one}" for one in arguments.overrides), "--resume"]
        print(f"clipmax: interrupted; go on with: {shlex.join(again)}", file=sys.stderr)
        return INTERRUPTED
    _say_outcome(outcome)
    return DONE


def _train_next_basket(configuration: Run, arguments: argparse.Namespace) -> int:
    """Of purchases: seconds of linear algebra, so there is nothing to resume and no epoch to follow."""
    from training.next_basket import run

    for name in ("tensorboard", "wandb", "mlflow", "resume"):
        if getattr(arguments, name):
            raise Refusal(f"--{name}", "epochs", expected="a run of epochs", found="purchases, which need none")
    _say(f"published {run.train(configuration, say=_say)}")
    return DONE


def _say_outcome(outcome: Outcome) -> None:
    figures = outcome.metrics
    _say(
        f"test: accuracy {figures.accuracy:.4f}, log loss {figures.log_loss:.4f}, "
        f"ECE {figures.ece_uncalibrated:.4f} → {figures.ece:.4f} at temperature {outcome.temperature:.3f}"
    )
    _say(f"published {outcome.folder}")


def _configure_tune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN.toml", help="the configuration that the search begins with")
    parser.add_argument(
        "--trials", type=_positive(int), required=True, metavar="N", help="in the end, those of earlier starts included"
    )
    parser.add_argument("--minutes", type=_positive(float), metavar="M", help="begin no trial later than this")
    _configure_overrides(parser)


def _run_tune(arguments: argparse.Namespace) -> int:
    from training import run_file
    from training.search import trials

    configuration = run_file.read(arguments.run, arguments.overrides)
    try:
        outcome = trials.tune(configuration, trials=arguments.trials, minutes=arguments.minutes, say=_say)
    except KeyboardInterrupt:
        print("clipmax: interrupted; the same command goes on with the search", file=sys.stderr)
        return INTERRUPTED
    _say_outcome(outcome)
    return DONE


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        number = kind(text)
        if not 0 < number < math.inf:
            raise ValueError
        return number

    parse.__name__ = f"positive {kind.__name__}"  # argparse puts it into its message
    return parse


def _configure_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="VERSION_FOLDER", help="a published version, models/<name>/<n>")
    parser.add_argument("run", type=Path, metavar="RUN.toml", help="whose [data] names the test split")
    _configure_overrides(parser)
    _configure_json(parser)


def _run_evaluate(arguments: argparse.Namespace) -> int:
    from training import evaluate, run_file

    settings = run_file.read(arguments.run, arguments.overrides)
    if settings.data.source == "events":
        from training.next_basket import evaluation

        return _show(evaluation.evaluate(arguments.folder, settings.data), evaluation.lines, arguments)
    return _show(evaluate.evaluate(arguments.folder, settings), evaluate.lines, arguments)


def _configure_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="A", help="a version's folder, or NAME:VERSION of --models")
    parser.add_argument("after", metavar="B", help="the other version")
    parser.add_argument("--data", type=Path, required=True, help="what to compare on: a table, a .npz or a RUN.toml")
    parser.add_argument("--label", metavar="COLUMN", help="of a table: the column that holds the label")
    _configure_overrides(parser)
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: %(default)s")
    parser.add_argument(
        "--common-labels", action="store_true", help="where labels differ: only rows of the common ones"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap; default: %(default)s")
    parser.set_defaults(wrong_usage=parser.error)
    _configure_json(parser)


def _run_compare(arguments: argparse.Namespace) -> int:
    if arguments.overrides and arguments.data.suffix != ".toml":
        arguments.wrong_usage("--set goes with a RUN.toml as --data")
    from training import compare
    from training.next_basket import comparison

    before, after = (compare.find(name, arguments.models) for name in (arguments.before, arguments.after))
    how = {"common_labels": arguments.common_labels, "seed": arguments.seed}
    purchases = comparison.purchases(arguments.data, before, after, overrides=arguments.overrides)
    if purchases is not None:
        return _show(comparison.compare(before, after, purchases, **how), comparison.lines, arguments)
    rows = compare.read(arguments.data, label=arguments.label, overrides=arguments.overrides)
    return _show(compare.compare(before, after, rows, **how), compare.lines, arguments)


def _configure_novelty(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN.toml", help="the configuration of the run; nothing is published")
    parser.add_argument(
        "--leave-out", type=float, default=0.25, metavar="SHARE", help="of the classes to hide in each fold; 0.25"
    )
    parser.add_argument("--folds", type=_positive(int), default=5, metavar="N", help="trainings; 5")
    _configure_overrides(parser)
    _configure_json(parser)
    parser.set_defaults(wrong_usage=parser.error)


def _run_novelty(arguments: argparse.Namespace) -> int:
    if not 0.0 < arguments.leave_out < 1.0:
        arguments.wrong_usage("--leave-out is a share, between 0 and 1")
    from training import leave_out, run_file

    settings = run_file.read(arguments.run, arguments.overrides)
    say = (lambda _: None) if arguments.json else _say
    found = leave_out.compare(settings, share=arguments.leave_out, folds=arguments.folds, say=say)
    return _show(found, leave_out.lines, arguments)


def _configure_baselines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN.toml", help="a run whose data is purchases (source = 'events')")
    _configure_overrides(parser)
    _configure_json(parser)


def _run_baselines(arguments: argparse.Namespace) -> int:
    from training import run_file
    from training.next_basket import baselines

    found = baselines.of_run(run_file.read(arguments.run, arguments.overrides).data, where=arguments.run)
    return _show(found, baselines.lines, arguments)


def _configure_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--approximate", type=Path, required=True, metavar="VERSION_FOLDER", help="a version of very many classes"
    )
    parser.add_argument("run", type=Path, metavar="RUN.toml", help="whose [data] names rows to choose and to judge by")
    parser.add_argument(
        "--dimensions",
        type=_positive(int),
        default=48,
        metavar="N",
        help="of the sketch that ranks; default: %(default)s",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sketch and the cells; default: %(default)s")
    parser.add_argument(
        "--limit-ms", type=_positive(float), default=0.3, metavar="MS", help="refuse a graph whose median row is slower"
    )


def _run_export(arguments: argparse.Namespace) -> int:
    from training import run_file
    from training.approximate import export

    settings = run_file.read(arguments.run)
    made = export.of_run(
        arguments.approximate,
        settings,
        dimensions=arguments.dimensions,
        seed=arguments.seed,
        limit_ms=arguments.limit_ms,
    )
    print("\n".join(export.lines(made)))
    return DONE


def _with_torch(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The same, or a line that says what to install."""

    def checked(arguments: argparse.Namespace) -> int:
        if importlib.util.find_spec("torch") is not None:
            return run(arguments)
        missing = "training needs torch: make install, or install clipmax with the extra `training`"
        print(f"clipmax: {missing}", file=sys.stderr)
        return FAILED

    return checked


def _show(found: BaseModel, lines: Callable[[Any], Sequence[str]], arguments: argparse.Namespace) -> int:
    """For a program or a person."""
    print(found.model_dump_json(indent=1) if arguments.json else "\n".join(lines(found)))
    return DONE


def _configure_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="all figures as one JSON object")


def _tracker(arguments: argparse.Namespace) -> Tracker:
    from training.tracking import MlFlow, TensorBoard, Together, WeightsAndBiases

    trackers: list[Tracker] = []
    if arguments.tensorboard:
        trackers.append(TensorBoard(arguments.tensorboard))
    if arguments.wandb:
        trackers.append(WeightsAndBiases(arguments.wandb))
    if arguments.mlflow:
        trackers.append(MlFlow(arguments.mlflow))
    return Together(*trackers)


def _say(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


TRAIN = Command(help="train a classifier and publish it as an artifact", configure=_configure, run=_with_torch(_run))
TUNE = Command(
    help="search for better parameters, then train and publish the best",
    configure=_configure_tune,
    run=_with_torch(_run_tune),
)
NOVELTY = Command(
    help="hide some classes in turn and compare how well each novelty score notices them",
    configure=_configure_novelty,
    run=_with_torch(_run_novelty),
)
BASELINES = Command(
    help="measure on purchases how well counting tells the next basket",
    configure=_configure_baselines,
    run=_with_torch(_run_baselines),
)
EVALUATE = Command(
    help="measure a published version on the test split, by the graph that is served",
    configure=_configure_evaluate,
    run=_with_torch(_run_evaluate),
)
EXPORT = Command(
    help="publish a faster version of very many classes, with what it was measured to miss",
    configure=_configure_export,
    run=_with_torch(_run_export),
)
COMPARE = Command(
    help="say what changed from one version to another, on the same rows",
    configure=_configure_compare,
    run=_with_torch(_run_compare),
)
