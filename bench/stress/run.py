"""What the service does under too much, beside slow clients and floods, among bad rows, and for a long time.

    python bench/stress/run.py overload slow flood mixed soak silent [--seconds 60] [--minutes 20] [--batches 100000]

The service has one core, the clients another. Prints one line a part with what was asked for beside what was seen;
exits 1 where that was missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from flood import flood
from mixed import mixed
from overload import overload
from place import CLIENT_CORE, Found
from silent import silent
from slow import slow
from soak import soak

PARTS: dict[str, Callable[[Path, argparse.Namespace], Found]] = {
    "overload": overload,
    "slow": slow,
    "mixed": mixed,
    "flood": flood,
    "soak": soak,
    "silent": silent,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=sorted(PARTS))
    parser.add_argument("--seconds", type=float, default=60.0, help="of the overload")
    parser.add_argument("--minutes", type=float, default=20.0, help="of the soak")
    parser.add_argument("--batches", type=int, default=100_000, help="of the mixed requests")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    kept = []
    for part in arguments.parts:
        with tempfile.TemporaryDirectory() as folder:
            found, good = PARTS[part](Path(folder), arguments)
        print(f"{part}: {found}{'' if good else '   MISSED'}", flush=True)
        kept.append(good)
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
