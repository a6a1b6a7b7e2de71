"""The command `clipmax`. Its subcommands come from entry points, so each half of the house brings its own.

Exit codes: 0 done, 1 refused or failed (one line on stderr says why), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points, version

from clipmax.client import ClientError
from clipmax.refusal import Refusal

GROUP = "clipmax.commands"
DONE, FAILED, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: an entry point of group `clipmax.commands` names an instance of this.

    Args:
        help: one line for `clipmax --help`.
        configure: adds the arguments to the subcommand's parser.
        run: does the work and returns the exit code; heavy imports belong inside it.
    """

    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script."""
    try:
        parsed = _parser().parse_args(arguments)
        command: Command = parsed.command
        code = command.run(parsed)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (Refusal, ClientError, OSError) as error:
        print(f"clipmax: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("clipmax: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clipmax", description="Class probabilities you can trust.")
    parser.add_argument("--version", action="version", version=f"clipmax {version('clipmax')}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        command: Command = point.load()
        subparser = subparsers.add_parser(point.name, help=command.help, description=command.help)
        command.configure(subparser)
        subparser.set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
