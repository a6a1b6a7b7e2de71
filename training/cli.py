"""The subcommand `clipmax train`."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
from pathlib import Path

from clipmax.cli import DONE, FAILED, INTERRUPTED, Command


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN.toml", help="the configuration of the run")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one field, e.g. fit.epochs=3; may be given again",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of this name")


def _run(arguments: argparse.Namespace) -> int:
    if importlib.util.find_spec("torch") is None:
        print("clipmax: training needs the extra: pip install 'clipmax[training]'", file=sys.stderr)
        return FAILED
    from training import config, run

    configuration = config.read(arguments.run, arguments.overrides)
    try:
        outcome = run.train(configuration, resume=arguments.resume, say=_say)
    except KeyboardInterrupt:
        again = ["clipmax", "train", str(arguments.run), *(f"--set={one}" for one in arguments.overrides), "--resume"]
        print(f"clipmax: interrupted; go on with: {shlex.join(again)}", file=sys.stderr)
        return INTERRUPTED
    figures = outcome.metrics
    _say(
        f"test: accuracy {figures.accuracy:.4f}, log loss {figures.log_loss:.4f}, "
        f"ECE {figures.ece_uncalibrated:.4f} → {figures.ece:.4f} at temperature {outcome.temperature:.3f}"
    )
    _say(f"published {outcome.folder}")
    return DONE


def _say(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


TRAIN = Command(help="train a classifier and publish it as an artifact", configure=_configure, run=_run)
