"""The subcommand `clipmax predict`: files of rows → answers, by a running service or in this process."""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from importlib.metadata import entry_points
from pathlib import Path

from clipmax.cli import DONE, Command
from clipmax.client import AsyncClient, checked_url
from clipmax.predict import arrays, pictures, sinks, tables
from clipmax.predict.asking import Ask, answers, patient
from clipmax.predict.batch import BadRow, Batch, select
from clipmax.predict.columns import Columns
from clipmax.predict.progress import Progress
from clipmax.predict.sinks import Sink
from clipmax.refusal import Refusal

TRANSPORTS = "clipmax.transports"
_DEFAULT_URL = "http://127.0.0.1:8000"
_FILES = "CSV, TSV, JSON Lines (also .gz), Parquet, .json, .npy, .npz, IDX, PNG, JPEG, or a folder of images"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help=f"{_FILES}; several only of images")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", type=checked_url, help=f"of a running service; default: {_DEFAULT_URL}")
    where.add_argument("--models", type=Path, metavar="FOLDER", help="answer in this process, from a models folder")
    _configure_question(parser)
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument("--index", type=int, metavar="ROW", help="only this row, counted from 0")
    rows.add_argument("--limit", type=_count, metavar="ROWS", help="only the first rows")
    parser.add_argument(
        "--missing", action="append", metavar="MARK", help="what stands for a missing value in CSV; default: nothing"
    )
    parser.add_argument(
        "--on-error",
        choices=["stop", "skip"],
        default="stop",
        help="at a row that gets no answer; default: %(default)s",
    )
    parser.add_argument("--concurrency", type=_count, default=4, metavar="N", help="requests at a time; default: 4")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write .csv, .jsonl or .parquet instead of lines")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")


def _configure_question(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="default: the service's default model")
    parser.add_argument("--version", type=int, help="default: the newest; needs --model")
    parser.add_argument("--top-k", type=int, metavar="K", help="how many labels to give")
    parser.add_argument("--probabilities", action="store_true", help="give every label's probability")
    parser.add_argument("--coverage", type=float, metavar="SHARE", help="give prediction sets of this coverage")
    parser.add_argument("--abstain", action="store_true", help="say where the model had better not decide")
    parser.add_argument("--novelty", action="store_true", help="say how unlike the training data each row is")
    parser.add_argument("--candidate", action="append", metavar="LABEL", help="only this label; may be given again")
    parser.add_argument("--exclude-seen", action="store_true", help="answer without the items of a row's history")
    parser.add_argument("--api-key-file", type=Path, metavar="KEY_FILE", help="a file with the API key on its one line")


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise ValueError(text)
    return count


def _run(arguments: argparse.Namespace) -> int:
    if arguments.version is not None and arguments.model is None:
        raise Refusal("--version", "--model", expected="the name of the model too", found="nothing")
    with _sink(arguments) as sink:
        asyncio.run(_predict(arguments, sink))
    return DONE


def _sink(arguments: argparse.Namespace) -> AbstractContextManager[Sink]:
    if arguments.output is not None:
        return sinks.to_file(arguments.output)
    return nullcontext(sinks.JsonLines(sys.stdout) if arguments.json else sinks.Lines(sys.stdout))


async def _predict(arguments: argparse.Namespace, sink: Sink) -> None:
    is_shown = arguments.output is not None or not sys.stdout.isatty()  # lines on the same terminal say enough
    progress = Progress(sys.stderr if is_shown else None)
    rows = skipped = 0
    async with _client(arguments) as client:
        batches = select(
            await _batches(arguments, client), index=arguments.index, limit=arguments.limit, where=arguments.files[0]
        )
        ask = patient(_asker(client, arguments))
        async for answered in answers(batches, ask, concurrency=arguments.concurrency):
            sink.write(answered)
            if answered.bad:
                progress.clear()
            for row in answered.bad:
                _report(row, arguments)
            rows, skipped = rows + len(answered.numbers), skipped + len(answered.bad)
            progress.show(rows, answered.done)
    progress.clear()
    if skipped:
        print(f"clipmax: {rows:,} rows answered, {skipped:,} skipped", file=sys.stderr)


def _asker(client: AsyncClient, arguments: argparse.Namespace) -> Ask:
    return functools.partial(
        client.predict,
        top_k=arguments.top_k,
        probabilities=arguments.probabilities,
        coverage=arguments.coverage,
        abstain=arguments.abstain,
        novelty=arguments.novelty,
        candidates=arguments.candidate,
        exclude_seen=arguments.exclude_seen,
        model=arguments.model,
        version=arguments.version,
    )


@asynccontextmanager
async def _client(arguments: argparse.Namespace) -> AsyncIterator[AsyncClient]:
    """To a service, or to one in this process."""
    key = None if arguments.api_key_file is None else arguments.api_key_file.read_text(encoding="utf-8").strip()
    async with AsyncExitStack() as stack:
        transport = None
        if arguments.models is not None:
            (point,) = entry_points(group=TRANSPORTS, name="local")
            opened = point.load()(arguments.models, model=arguments.model, version=arguments.version)
            transport = await stack.enter_async_context(opened)
        client = AsyncClient(
            arguments.url or _DEFAULT_URL, api_key=key, concurrency=arguments.concurrency, transport=transport
        )
        yield await stack.enter_async_context(client)


async def _batches(arguments: argparse.Namespace, client: AsyncClient) -> Iterator[Batch]:
    """The rows of the files; of a table, the columns that the model takes."""
    paths: list[Path] = arguments.files
    if all(pictures.is_image(path) for path in paths):
        return pictures.batches(paths)
    if len(paths) > 1:
        raise Refusal(paths[1], "files", expected="one, or several that are images or folders", found=str(len(paths)))
    reader = tables.READERS.get(tables.suffix(paths[0]))
    if reader is None:
        return arrays.batches(arrays.read(paths[0]))
    metadata = await client.metadata(arguments.model, arguments.version)
    return reader(paths[0], Columns(metadata, arguments.missing or [""]))


def _report(row: BadRow, arguments: argparse.Namespace) -> None:
    """Raises Refusal, unless such rows are to be skipped."""
    refusal = Refusal(arguments.files[0], f"row {row.number}", expected="one that the model takes", found=row.why)
    if arguments.on_error == "stop":
        raise refusal
    print(f"clipmax: {refusal}", file=sys.stderr)


COMMAND = Command(help="answer the rows of files with a model", configure=_configure, run=_run)
