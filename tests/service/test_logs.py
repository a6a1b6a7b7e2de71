"""What a process of ours writes to stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

_BEFORE = "import threading, warnings\nfrom service import logs\nlogs.configure('info')\n"


def lines_of(code: str) -> list[dict[str, Any]]:
    """What a fresh process logs that runs `code`."""
    done = subprocess.run(
        [sys.executable, "-c", _BEFORE + code], capture_output=True, text=True, timeout=60, check=True
    )
    return [json.loads(line) for line in done.stderr.split("\n")[:-1]]


def test_an_event_is_one_line_with_its_fields() -> None:
    """Time, level and name stand before what is said of it."""
    (line,) = lines_of("logs.write(20, 'version serves', model='a', version=3)")
    assert list(line) == ["time", "level", "event", "model", "version"]
    assert (line["level"], line["event"], line["version"]) == ("info", "version serves", 3)


def test_a_message_of_many_lines_stays_one_line() -> None:
    """Whoever reads line by line gets one object for each event."""
    (line,) = lines_of("import logging\nlogging.getLogger('other').warning('one\\ntwo\\u2028three')")
    assert line["event"] == "one\ntwo\u2028three"
    assert line["logger"] == "other"


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("warnings.warn('numpy says so', RuntimeWarning)", "numpy says so"),
        ("class A:\n    def __del__(self): raise KeyError('secret')\nA()", "exception ignored"),
        ("t = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()", "thread failed"),
    ],
)
def test_what_python_itself_would_print_is_json_too(code: str, event: str) -> None:
    """A warning, an exception in a finalizer, a thread that dies: no value of them is repeated."""
    (line,) = lines_of(code)
    assert event in line["event"]
    assert "secret" not in json.dumps(line)
