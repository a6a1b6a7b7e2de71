"""A TOML file, with overrides → a checked run; every mistake in it is named by its key."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from clipmax.refusal import Refusal, shorten
from training.clipping import RULES, accepts
from training.config import SOURCES, Run
from training.losses import LOSSES
from training.novelty import NAMES
from training.optimizers import OPTIMIZERS, SCHEDULES


def read(path: Path, overrides: Sequence[str] = ()) -> Run:
    """The run of a TOML file, with `key=value` overrides applied.

    Args:
        path: the file.
        overrides: dotted keys and TOML values, e.g. `fit.epochs=3`; a value that is no TOML is taken as a string.

    Raises:
        Refusal: not readable, no TOML, an unknown key, a bad value.
    """
    document = _parse(path)
    for override in overrides:
        _apply(document, override)
    return check(path, document)


def check(path: Path, document: Mapping[str, Any]) -> Run:
    """The run of a parsed document; `path` is for messages, and its folder for the relative paths of the data.

    Raises:
        Refusal: an unknown key, a bad value.
    """
    try:
        # By way of JSON, because only there strict typing still takes a list for a tuple and a string for a path;
        # lax typing would take "3" or true for a number.
        run = Run.model_validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as error:
        raise _refusal(path, error) from error
    _check_names(path, run)
    return _resolve(run, path.resolve().parent)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(path, "file", expected="a readable TOML file", found=error.strerror or "an error") from error
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise Refusal(path, "file", expected="TOML in UTF-8", found=str(error)) from error


def _apply(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise Refusal("--set", override, expected="key=value", found="no value")
    *sections, last = key.strip().split(".")
    place = document
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise Refusal("--set", key, expected="a section", found=f"{section} is a value")
    place[last] = _value(text)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _refusal(path: Path, error: ValidationError) -> Refusal:
    """The first finding, under the key as the file spells it, with the nearest known key beside an unknown one."""
    first = error.errors(include_url=False)[0]
    keys = [str(part) for part in first["loc"]]
    if keys[:1] == ["data"] and keys[1:2] in (["idx"], ["npz"], ["table"], ["folders"], ["events"]):
        del keys[1]  # pydantic's name for the branch of the union, no key of the file
    key = ".".join(keys)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, _known_keys(Run), n=1)
        return Refusal(path, key, expected=f"a known key{f' ({near[0]}?)' if near else ''}", found="an unknown one")
    if first["type"] in {"union_tag_not_found", "union_tag_invalid"}:
        found = shorten(first["input"].get("source")) if "source" in first["input"] else "nothing"
        return Refusal(path, "data.source", expected="'idx', 'npz', 'table', 'folders' or 'events'", found=found)
    plain = Refusal.from_validation(path, error)
    return Refusal(path, key, expected=plain.expected, found=plain.found)


def _known_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted keys, those of a section's own fields after it."""
    keys: list[str] = []
    for name, field in section.model_fields.items():
        keys.append(f"{prefix}{name}")
        for kind in SOURCES if name == "data" else (field.annotation,):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys += _known_keys(kind, f"{prefix}{name}.")
    return keys


def _check_names(path: Path, run: Run) -> None:
    """The names that are looked up in tables of other modules."""
    for field, name, table in (
        ("clipping.rule", run.clipping.rule, RULES),
        ("loss.name", run.loss.name, LOSSES),
        ("optimizer.name", run.optimizer.name, OPTIMIZERS),
        ("schedule.name", run.schedule.name, SCHEDULES),
        ("novelty.score", run.novelty.score, NAMES),
    ):
        if name not in table:
            raise Refusal(path, field, expected=f"one of {', '.join(sorted(table))}", found=repr(name))
    rule, limit = run.clipping.rule, run.clipping.limit
    if not accepts(rule, limit):
        raise Refusal(path, "clipping.limit", expected=f"a limit that {rule} can use", found=str(limit))


def _resolve(run: Run, folder: Path) -> Run:
    """Paths of the data, made independent of the working directory."""
    resolved = {
        field: folder / value for field, value in run.data if isinstance(value, Path) and not value.is_absolute()
    }
    return run.model_copy(update={"data": run.data.model_copy(update=resolved)})
