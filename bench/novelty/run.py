"""Classes hidden in turn, and texts of another domain → how well each novelty score notices them, as a table.

    python bench/novelty/run.py RUN.toml [--texts FILE.csv COLUMN] [--shuffled] [--folds 5] [--set KEY=VALUE]

The texts are for runs with one text input. `--shuffled` adds table rows whose cells come from different test rows: each
cell is usual, the row is not. `clipmax novelty` does the rest without either.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from training import leave_out, run_file
from training.data import sources
from training.data.dataset import Dataset, Split


def main() -> None:
    arguments = _arguments()
    settings = run_file.read(arguments.run, arguments.overrides)
    dataset = sources.read(settings.data, text_length=settings.texts.max_length)
    others = {"elsewhere": _texts(dataset, *arguments.texts)} if arguments.texts else {}
    others |= {"shuffled": _shuffled(dataset.test)} if arguments.shuffled else {}
    started = time.perf_counter()
    found = leave_out.compare(
        settings,
        share=arguments.leave_out,
        folds=arguments.folds,
        others=others,
        say=lambda line: print(line, flush=True),
    )
    print("\n".join(leave_out.lines(found)))
    print(f"{time.perf_counter() - started:.0f} s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--texts", nargs=2, metavar=("FILE.csv", "COLUMN"))
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--leave-out", type=float, default=0.25)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    return parser.parse_args()


def _texts(dataset: Dataset, file: str, column: str) -> Split:
    """The texts of a column as rows of the run's only input; their labels mean nothing."""
    (schema,) = dataset.inputs
    texts = pl.read_csv(file)[column].to_list()
    return Split({schema.name: np.array(texts, dtype=object)}, np.zeros(len(texts), dtype=np.int64))


def _shuffled(split: Split) -> Split:
    """Every column in an order of its own."""
    generator = np.random.default_rng(0)
    return replace(split, columns={name: generator.permutation(column) for name, column in split.columns.items()})


if __name__ == "__main__":
    main()
