"""The command `clipmax`: subcommands come from entry points, and every end has its exit code and one line."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from clipmax import cli
from clipmax.client import Unreachable
from clipmax.refusal import Refusal

COMMAND = Path(sys.executable).with_name("clipmax")


def command(run: Callable[[argparse.Namespace], int]) -> cli.Command:
    return cli.Command(help="a command", configure=lambda parser: parser.add_argument("word", nargs="?"), run=run)  # type: ignore[arg-type]  # its result is ignored


class Point:
    """An entry point that names `loaded`."""

    def __init__(self, name: str, loaded: cli.Command) -> None:
        self.name = name
        self.loaded = loaded

    def load(self) -> cli.Command:
        return self.loaded


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace], int]], None]:
    """Make `clipmax try` run a function."""

    def install(run: Callable[[argparse.Namespace], int]) -> None:
        monkeypatch.setattr(cli, "entry_points", lambda group: [Point("try", command(run))])

    return install


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(_: argparse.Namespace) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "code", "said"),
    [
        (lambda _: 0, 0, ""),
        (lambda _: 1, 1, ""),
        (raising(Refusal("a", "b", expected="c", found="d")), 1, "clipmax: a: b: expected c, found d\n"),
        (raising(Unreachable("http://x: no answer")), 1, "clipmax: http://x: no answer\n"),
        (raising(FileNotFoundError(2, "No such file", "x")), 1, "clipmax: [Errno 2] No such file: 'x'\n"),
        (raising(KeyboardInterrupt()), 130, "clipmax: interrupted\n"),
    ],
    ids=["done", "failed", "refused", "no service", "no file", "interrupted"],
)
def test_every_end_has_its_code_and_one_line(
    run: Callable[[argparse.Namespace], int],
    code: int,
    said: str,
    install: Callable[[Callable[[argparse.Namespace], int]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """0 done, 1 refused or failed, 130 interrupted; the line goes to stderr."""
    install(run)
    assert cli.main(["try"]) == code
    assert capsys.readouterr() == ("", said)


def test_a_fault_of_ours_is_not_hidden(install: Callable[[Callable[[argparse.Namespace], int]], None]) -> None:
    """It keeps its stack trace."""
    install(raising(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["try"])


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["try", "a", "b"], ["try", "--unknown"]])
def test_wrong_usage_is_2(arguments: list[str], install: Callable[[Callable[[argparse.Namespace], int]], None]) -> None:
    """As every command of the system says."""
    install(lambda _: 0)
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2


def test_the_help_lists_every_subcommand() -> None:
    """With its line, and without loading torch or onnxruntime."""
    script = "import sys\nfrom clipmax import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
    heavy = "print([name for name in ('torch', 'onnxruntime', 'fastapi') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", script + heavy], check=True, capture_output=True, text=True).stdout
    names = [point.name for point in entry_points(group=cli.GROUP)]
    assert {"inspect", "predict", "serve", "train", "verify"} <= set(names)
    for name in names:
        assert re.search(rf"\n    {name}\s", shown)
    assert shown.endswith("[]\n")


def test_the_command_is_installed() -> None:
    """Under its name."""
    found = subprocess.run([COMMAND, "--version"], check=True, capture_output=True, text=True)
    assert found.stdout.startswith("clipmax ")


def test_a_reader_that_has_enough_ends_the_command_without_noise(tmp_path: Path) -> None:
    """`clipmax … | head`."""
    script = "import sys; from clipmax import cli; cli.entry_points = lambda group: [P()]; sys.exit(cli.main(['try']))"
    point = "class P:\n name = 'try'\n def load(self): return cli.Command('', lambda parser: None, self.run)\n"
    run = " def run(self, _):\n  for _ in range(100_000): print('a line')\n  return 0\n"
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys\nfrom clipmax import cli\n{point}{run}{script}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
