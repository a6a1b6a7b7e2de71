"""A table or a folder of images → a commented TOML of a first run, written from looking at the data."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel

from clipmax.inputs import ImageInput
from clipmax.refusal import Refusal, shorten
from training import defaults, run_file
from training.config import FolderSource, TableSource
from training.data import folders, frames, kinds, sources
from training.data.dataset import Dataset

MARKERS = ("?", "NA", "N/A", "n/a", "na", "NaN", "nan", "NULL", "null", "None", "-")
"""Words that stand for a missing value where they are the only words in a column of numbers."""
_SECTIONS = ("model", "loss", "optimizer", "schedule", "clipping", "fit")
_SHOWN_CLASSES = 12
_GRAY_MODES = ("1", "L", "I;16")


def write(data: Path, *, label: str | None, name: str | None = None, output: Path | None = None) -> Path:
    """Look at the data and write the run; returns the TOML's path.

    Args:
        data: a table, or a folder with one folder a class (or with `train` and perhaps `test`, each of that layout).
        label: the column to predict; of a table only.
        name: the model's; by default made from the data's file name.
        output: by default `<name>.toml` here.

    Raises:
        Refusal: data that cannot be trained on, a label that is missing, a file that exists already.
    """
    name = _slug(data) if name is None else name
    path = Path(f"{name}.toml") if output is None else output
    if path.exists():
        raise Refusal(path, "file", expected="a new one", found="one that exists")
    source, remarks = _folder(data, label) if data.is_dir() else _table(data, label)
    text = _text(source, remarks, name, path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Refusal(path, "file", expected="one that can be written", found=error.strerror or "an error") from error
    return path


def _slug(data: Path) -> str:
    """A model's name from a file's: `Sales 2024.csv.gz` → `sales-2024`."""
    plain = re.sub(r"[^a-z0-9]+", "-", data.resolve().name.removesuffix(".gz").lower().rsplit(".", 1)[0])
    return plain.strip("-")[:40] or "model"


def _table(data: Path, label: str | None) -> tuple[TableSource, list[str]]:
    """The source with every column under its kind, and a remark a column on why."""
    if label is None:
        raise Refusal(data, "--label", expected="the column to predict", found="nothing")
    frame = frames.read(data)
    frames.column(frame, label, where=data)
    missing = ["", *_markers(frame.drop(label))]
    columns: dict[str, list[str]] = {"numbers": [], "categories": [], "texts": [], "ignore": []}
    remarks = []
    for name in (name for name in frame.columns if name != label):
        values = frames.without_missing(frame[name], missing)
        group, why = _column(values, data)
        columns[group].append(name)
        remarks.append(f"{shorten(name)}: {why}")
    groups = {group: tuple(names) for group, names in columns.items()}
    return TableSource(source="table", train=data, label=label, missing=tuple(missing), **groups), remarks


def _markers(frame: pl.DataFrame) -> list[str]:
    """Of `MARKERS`, those that are all that keeps a column of strings from being numbers."""
    found: set[str] = set()
    for values in frame.iter_columns():
        if values.dtype == pl.String:
            present = values.filter(values.is_not_null() & (values != ""))
            words = present.filter(~kinds.are_numbers(present))
            if 0 < len(words) < len(present) and words.is_in(list(MARKERS)).all():
                found |= set(words.unique())
    return sorted(found)


def _column(values: pl.Series, data: Path) -> tuple[str, str]:
    """The field of `[data]` that a column goes to, and why."""
    present = values.drop_nulls()
    gaps = f", {values.null_count() / len(values):.1%} missing" if values.null_count() else ""
    different = present.n_unique()
    if different < 2:
        return "ignore", f"not used, one value or none{gaps}"
    try:
        kind = kinds.infer(values, np.arange(1, len(values) + 1), where=data)
    except Refusal as refusal:
        return "ignore", f"not used, expected {refusal.expected}, found {refusal.found} ({refusal.field})"
    if kind == "number":
        numbers = kinds.numbers(present, np.arange(1, len(present) + 1), where=data)
        if _counts(numbers):
            return "ignore", "not used, it counts the rows"
        return "numbers", f"a number, {numbers.min():g} to {numbers.max():g}{gaps}"
    if kind == "category":
        return "categories", f"a category, {different:,} different words{gaps}"
    length = present.cast(pl.String).str.len_chars().sum() / len(present)
    return "texts", f"a text, {different:,} different of {length:.0f} characters on average{gaps}"


def _counts(numbers: Any) -> bool:
    """Whether these are n, n + 1, n + 2, … in the file's order: a row number and no property of the row."""
    return len(numbers) > 2 and bool((np.diff(numbers) == 1).all())


def _folder(data: Path, label: str | None) -> tuple[FolderSource, list[str]]:
    """The source, and how its layout and colours were found."""
    if label is not None:
        raise Refusal(data, "--label", expected="nothing, for a folder's classes are its folders", found=repr(label))
    train = data / "train" if (data / "train").is_dir() else data
    test = data / "test" if train != data and (data / "test").is_dir() else None
    is_gray = all(_is_gray(path) for path in folders.image_files(train))
    color = "all images are gray" if is_gray else "some images have colours"
    remarks = [f"color: {color}", f"test: {'its own folder' if test else 'a share of the training images'}"]
    return FolderSource(source="folders", train=train, test=test, color="gray" if is_gray else "rgb"), remarks


def _is_gray(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode in _GRAY_MODES
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise Refusal(path, "image", expected="a readable PNG or JPEG", found=str(error)) from error


def _text(source: TableSource | FolderSource, remarks: list[str], name: str, path: Path) -> str:
    """The whole TOML; that it trains is known, because the data was read and split by it."""
    run = run_file.check(path, {"name": name, "data": source.model_dump(mode="json", exclude_unset=True)})
    dataset = sources.read(source)
    run = defaults.fill(run, dataset)
    lines = [
        "# A first run, written by `clipmax train --init` from looking at the data. After [data], every value is the",
        "# default for such data: a line that goes changes nothing. docs/training.md lists all fields.",
        f"name = {_value(name)}",
        *_field(run, "seed"),
        *_field(run, "threads"),
        "",
        *_data(run.data, dataset, remarks, path.resolve().parent),
    ]
    for section in (*_SECTIONS, *_own_sections(dataset)):
        lines += ["", *_section(getattr(run, section), section)]
    return "\n".join(lines) + "\n"


def _own_sections(dataset: Dataset) -> Iterator[str]:
    """The sections on how inputs of the kinds at hand become features."""
    present = {schema.kind for schema in dataset.inputs}
    for section, its_kinds in {"images": {"image"}, "rows": {"number", "category"}, "texts": {"text"}}.items():
        if present & its_kinds:
            yield section


def _data(source: Any, dataset: Dataset, remarks: list[str], folder: Path) -> list[str]:
    rows = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    values = source.model_dump(mode="json", exclude_defaults=True)
    shares = {"validation": source.validation} | ({} if source.test else {"test_share": source.test_share})
    values.pop("validation", None)
    for field in ("train", "test"):
        if values.get(field):
            values[field] = os.path.relpath(values[field], folder)
    return [
        "[data]",
        f"# Rows: {rows}.",
        f"# {_classes(dataset)}",
        *(f"# {remark}" for remark in remarks),
        *(f"# input {schema.name}: {schema.shape}" for schema in dataset.inputs if isinstance(schema, ImageInput)),
        *(f"{field} = {_value(value)}" for field, value in {**values, **shares}.items()),
    ]


def _classes(dataset: Dataset) -> str:
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.labels))
    shares = [f"{shorten(word)} {count / counts.sum():.1%}" for word, count in zip(dataset.labels, counts, strict=True)]
    more = f" and {len(shares) - _SHOWN_CLASSES} more" if len(shares) > _SHOWN_CLASSES else ""
    return f"Classes: {len(shares)}: {', '.join(shares[:_SHOWN_CLASSES])}{more}."


def _section(section: BaseModel, name: str) -> list[str]:
    """A table with all its fields, after it the tables inside it."""
    lines = [f"[{name}]"]
    inner: list[str] = []
    for field, value in section:
        if isinstance(value, BaseModel):
            inner += ["", *_section(value, f"{name}.{field}")]
        else:
            lines += _field(section, field)
    return [*lines, *inner]


def _field(section: BaseModel, field: str) -> list[str]:
    """The first sentence about a field, and the field; one without a value as a comment."""
    about = re.split(r"(?<=\.)\s", " ".join((type(section).model_fields[field].description or "").split()))[0]
    value = getattr(section, field)
    line = f"# {field} is not set" if value is None else f"{field} = {_value(value)}"
    return [f"# {about}", line] if about else [line]


def _value(value: Any) -> str:
    """A value as TOML, which spells strings, lists and numbers as JSON does, but for one control character."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_value(key)} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
