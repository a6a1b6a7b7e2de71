"""Our service beside a raw ASGI app without any check, and beside other servers: requests a second and CPU time.

    python bench/serving/run.py [--models models] [--text-model banking77] [--only connections] [--write]
    python bench/serving/run.py --peer mosec=PYTHON --peer litserve=PYTHON [--write]

Each server has one core and one onnxruntime thread, wrk has the other core. Visits take turns (reference, ours, ours,
reference, …), each ratio is of two neighbouring visits, and what is reported is the median with the middle half. A
visit counts only if the server's core was busy: a load generator that starves would flatter the slower server. Where
permitted, everything runs in the real-time class, so that other programs on the machine matter less.

The text model is any that reads one text; `clipmax train examples/banking77/banking77.toml` makes one. A peer is
measured with the Python of an environment in which it is installed. `--write` replaces the rows that were measured.
"""

from __future__ import annotations

import argparse
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servers import CLIENT_CORE, HERE, Server, available, pinned, reference, service
from works import Work, peers, works

DOCUMENT = HERE.parents[1] / "docs" / "serving.md"
BUSY = 0.95
"""Share of its core that a server must have used; of what Linux leaves to the real-time class, where that is used."""

_WRK = """
wrk.method = "POST"
local bodies, turn = {{}}, 0
for line in io.lines("{bodies}") do
  bodies[#bodies + 1] = line:gsub("..", function(pair) return string.char(tonumber(pair, 16)) end)
end
{headers}
wrk.body = bodies[1]
if #bodies > 1 then
  function request()
    turn = turn % #bodies + 1
    return wrk.format(nil, nil, nil, bodies[turn])
  end
end
"""
_COLUMNS = (
    "work",
    "reference, requests/s",
    "ours, requests/s",
    "ratio (middle half)",
    "CPU an answer, reference / ours (ratio)",
    "busy",
    "must",
    "aim",
)
_PEER_COLUMNS = ("server and work", "theirs, requests/s", "ours, requests/s", *_COLUMNS[3:6])


@dataclass(frozen=True, slots=True)
class Visit:
    """One second of load: requests a second, CPU seconds an answer, and the share of the core that was used."""

    rate: float
    cpu: float
    busy: float


Pair = tuple[Visit, Visit]
"""Theirs and ours, one after the other."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder with the models")
    parser.add_argument("--text-model", default="banking77", help="name of a model of one text")
    parser.add_argument("--visits", type=int, default=7, help="pairs of visits a work")
    parser.add_argument("--seconds", type=int, default=1, help="length of a visit")
    parser.add_argument("--only", default="", help="measure only works with this in their name")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help="mosec, litserve, mlserver")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {DOCUMENT.name}")
    arguments = parser.parse_args()
    pythons = dict(peer.split("=", 1) for peer in arguments.peer)
    table = "peers" if pythons else "figures"
    asked = [work for work in peers() if work.reference in pythons] if pythons else works(arguments.text_model)
    chosen = [work for work in asked if arguments.only in work.name]
    rows = {work.name: _row(work, measure(work, arguments, pythons)) for work in chosen}
    lines = [] if pythons or arguments.only else [start_up(arguments)]
    print(*rows.values(), *lines, sep="\n")
    if arguments.write:
        write(table, rows, lines)


def measure(work: Work, arguments: argparse.Namespace, pythons: dict[str, str]) -> list[Pair]:
    """Pairs of visits."""
    with (
        tempfile.TemporaryDirectory() as folder,
        reference(work, arguments.models, pythons) as theirs,
        service(arguments.models, "mnist") as ours,
    ):
        script = _script(work, Path(folder))
        visitors = [(theirs, work.their_path), (ours, work.our_path)]
        for server, path in visitors:  # not counted: caches, branch predictors, memory
            visit(server, path, work, script, arguments.seconds)
        pairs: list[Pair] = []
        while len(pairs) < arguments.visits:
            order = visitors if len(pairs) % 2 == 0 else visitors[::-1]
            visits = {server.port: visit(server, path, work, script, arguments.seconds) for server, path in order}
            pairs.append((visits[theirs.port], visits[ours.port]))
            print(f"{work.name}: {pairs[-1][1].rate / pairs[-1][0].rate:.2f} {pairs[-1]}", file=sys.stderr)
    return pairs


def visit(server: Server, path: str, work: Work, script: Path, seconds: int) -> Visit:
    """Load for one visit, and what the server used of it."""
    url = f"http://127.0.0.1:{server.port}{path}"
    command = ["wrk", "-t1", f"-c{work.connections}", f"-d{seconds}s", "-s", str(script), url]
    before = server.cpu_seconds()
    done = subprocess.run([*pinned(CLIENT_CORE), *command], capture_output=True, text=True, check=True)
    cpu = server.cpu_seconds() - before
    assert "Non-2xx" not in done.stdout, done.stdout
    requests = _number(r"(\d+) requests in", done.stdout)
    rate = _number(r"Requests/sec:\s+([\d.]+)", done.stdout)
    return Visit(rate, cpu / requests, cpu * rate / requests / available())


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1])


def _script(work: Work, folder: Path) -> Path:
    """For wrk; bodies in hexadecimal, one a line."""
    bodies, script = folder / "bodies", folder / "post.lua"
    bodies.write_text("".join(f"{body.hex()}\n" for body in work.bodies))
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in work.headers)
    script.write_text(_WRK.format(bodies=bodies, headers=headers))
    return script


def start_up(arguments: argparse.Namespace, times: int = 5) -> str:
    """Seconds from the command to readiness, several times, and the resident memory then; of the digits alone."""
    seconds, resident = [], 0
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "mnist").symlink_to((arguments.models / "mnist").resolve())
        for _ in range(times):
            with service(Path(folder), "mnist") as server:
                seconds.append(server.ready_seconds)
                resident = max(resident, server.resident_bytes())
    return f"Start to ready: {_spread(seconds, 2)} s. Resident memory when ready: {resident / 1e6:.0f} MB."


def _row(work: Work, pairs: Sequence[Pair]) -> str:
    fair = [pair for pair in pairs if not work.is_busy or min(pair[0].busy, pair[1].busy) >= BUSY]
    used = fair or pairs
    theirs, ours = [pair[0] for pair in used], [pair[1] for pair in used]
    busy = min(one.busy for one in [*theirs, *ours])
    cells = [
        work.name,
        f"{statistics.median(one.rate for one in theirs):,.0f}",
        f"{statistics.median(one.rate for one in ours):,.0f}",
        _spread([one.rate / other.rate for other, one in used], 2),
        _cpu(theirs, ours, statistics.median(other.cpu / one.cpu for other, one in used)),
        f"{busy:.0%}, {len(fair)} of {len(pairs)} visits",
        *(f"{wanted:.2f}" for wanted in (work.must, work.aim) if wanted is not None),
    ]
    return f"| {' | '.join(cells)} |"


def _cpu(theirs: Sequence[Visit], ours: Sequence[Visit], ratio: float) -> str:
    first, second = (statistics.median(one.cpu for one in visits) * 1e6 for visits in (theirs, ours))
    return f"{first:,.0f} / {second:,.0f} µs ({ratio:.2f})"


def _spread(values: Sequence[float], digits: int) -> str:
    """Median and middle half."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    first, middle, last = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({first:.{digits}f} to {last:.{digits}f})"


def _machine() -> str:
    from importlib.metadata import version

    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    names = ("uvicorn", "fastapi", "onnxruntime", "numpy", "pysimdjson", "orjson")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    processor = found[1] if found else "unknown processor"
    return f"{platform.machine()}, {processor}, Python {platform.python_version()}; {libraries}."


def write(table: str, rows: dict[str, str], lines: Sequence[str]) -> None:
    """Put rows and lines between a table's markers, in the place of those that were there."""
    begin, end = f"<!-- {table}: begin -->", f"<!-- {table}: end -->"
    before, rest = DOCUMENT.read_text().split(begin)
    former, after = rest.split(end)
    kept = {line.split(" | ")[0][2:]: line for line in former.splitlines() if line.startswith("| ")}
    columns = _PEER_COLUMNS if table == "peers" else _COLUMNS
    kept = {name: line for name, line in kept.items() if name not in {columns[0], "---"}} | rows
    others = [line for line in former.splitlines() if line.startswith("Start to ready")]
    text = [
        f"| {' | '.join(columns)} |",
        f"| --- |{' ---: |' * (len(columns) - 1)}",
        *kept.values(),
        *(f"\n{line}" for line in lines or others),
        f"\n{_machine()}",
    ]
    DOCUMENT.write_text("\n\n".join([before + begin, "\n".join(text), end + after]))


if __name__ == "__main__":
    main()
