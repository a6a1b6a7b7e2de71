"""The subcommand `clipmax import`."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from pathlib import Path

from clipmax.cli import DONE, FAILED, Command
from clipmax.labels import fault as label_fault
from clipmax.manifest import load
from clipmax.refusal import Refusal

_IMAGE = re.compile(r"^([1-9]\d{0,4})x([1-9]\d{0,4})(x3)?$")
_NEEDED = ("onnx", "polars")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="MODEL.onnx", help="of Keras, PyTorch, tf2onnx, skl2onnx, …")
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help="one label a line, class 0 first")
    parser.add_argument("--name", required=True, help="of the model")
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: %(default)s")
    parser.add_argument("--validation", type=Path, metavar="DATA", help="rows for temperature and thresholds")
    parser.add_argument("--test", type=Path, metavar="DATA", help="other rows, to measure on")
    parser.add_argument("--label", metavar="COLUMN", help="of a table: the column that holds the label")
    parser.add_argument("--ignore", action="append", default=[], metavar="COLUMN", help="of a table: not an input")
    parser.add_argument("--columns", type=Path, metavar="FILE", help="one column's name a line, in the model's order")
    parser.add_argument("--image", type=_image, default=(), metavar="28x28", help="a model of flat pixels takes images")
    parser.add_argument("--pixels", type=_pixels, metavar="LOW..HIGH", help="what 0 and 255 are for the model: 0..1")
    parser.add_argument("--output", metavar="NAME", help="of the file, where several fit")
    parser.add_argument("--risk", type=float, default=0.02, help="wrong among the accepted; default: %(default)s")
    parser.add_argument("--memory-gib", type=float, default=4.0, help="for the checks; default: %(default)s")
    parser.add_argument("--seconds", type=int, default=300, help="of CPU for the checks; default: %(default)s")


def _run(arguments: argparse.Namespace) -> int:
    if not all(importlib.util.find_spec(name) for name in _NEEDED):
        print("clipmax: import needs the extra: pip install 'clipmax[training]'", file=sys.stderr)
        return FAILED
    from training.adopt import importing
    from training.adopt.limits import Limits
    from training.data import labelled

    given = {"validation": arguments.validation, "test": arguments.test}
    data = {
        name: labelled.read(path, label=arguments.label, ignore=arguments.ignore)
        for name, path in given.items()
        if path
    }
    order = importing.Order(
        file=arguments.file,
        name=arguments.name,
        models=arguments.models,
        labels=_labels(arguments.labels),
        columns=_text_lines(arguments.columns) if arguments.columns else (),
        image=arguments.image,
        pixels=arguments.pixels,
        output=arguments.output,
        risk=arguments.risk,
        data=data,
        limits=Limits(
            memory_bytes=int(arguments.memory_gib * 2**30),
            cpu_seconds=arguments.seconds,
            wall_seconds=2.0 * arguments.seconds,
        ),
    )
    folder = importing.publish(order)
    print("\n".join(importing.lines(load(folder), folder)))
    return DONE


def _labels(path: Path) -> tuple[str, ...]:
    labels = _text_lines(path)
    fault = "at least two labels" if len(labels) < 2 else label_fault(labels)
    if fault:
        raise Refusal(path, "labels", expected=fault, found=f"{len(labels)} lines")
    return labels


def _text_lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(
            path, "file", expected="lines of UTF-8", found=getattr(error, "strerror", "") or "other"
        ) from error


def _image(text: str) -> tuple[int, ...]:
    found = _IMAGE.match(text)
    if found is None:
        raise ValueError(text)
    return (int(found[1]), int(found[2]), *((3,) if found[3] else ()))


def _pixels(text: str) -> tuple[float, float]:
    low, _, high = text.partition("..")
    return float(low), float(high)


IMPORT = Command(
    help="make a version of an ONNX classifier that another tool has trained", configure=_configure, run=_run
)
