"""The body of a V1 predict request → instances and options.

{"instances": [...], "parameters": {"top_k": 3, "probabilities": false, "coverage": 0.9, …}}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clipmax.conformal import Method
from clipmax.problems import Problem
from service.answer import DEFAULT, DEFAULT_TOP_K, Options
from service.reading import json

_TOP_K_LIMIT = 2**63 - 1
_MEMBERS = ("instances", "parameters")
_PARAMETERS = (
    "top_k",
    "probabilities",
    "logits",
    "coverage",
    "coverage_method",
    "abstain",
    "novelty",
    "candidates",
    "exclude_seen",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request."""

    max_body_bytes: int
    max_batch_rows: int
    max_json_depth: int
    max_answer_values: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Question:
    """What one request asks: instances as JSON values, and what to answer of each."""

    instances: list[Any]
    options: Options


def read(body: bytes, limits: Limits) -> Question:
    """The question in a body; the instances are not yet looked into.

    Raises:
        Problem: what `json.decode` raises; TYPE, FIELD_MISSING, UNKNOWN_FIELD, EMPTY_BATCH, BATCH_TOO_LARGE
            and PARAMETER, with a pointer.
    """
    document = json.decode(body, max_depth=limits.max_json_depth)
    if not isinstance(document, dict):
        raise Problem("TYPE", "the body must be an object")
    _check_members(document, _MEMBERS, "")
    if "instances" not in document:
        raise Problem("FIELD_MISSING", 'the body needs the member "instances"')
    instances = _instances(document["instances"], limits.max_batch_rows)
    return Question(instances, options(document.get("parameters", {})))


def _instances(value: Any, max_rows: int) -> list[Any]:
    if not isinstance(value, list):
        raise Problem("TYPE", "instances must be an array", pointer="/instances")
    if not value:
        raise Problem("EMPTY_BATCH", "at least one row is needed", pointer="/instances")
    if len(value) > max_rows:
        raise too_many_rows(len(value), max_rows)
    return value


def too_many_rows(count: int, limit: int) -> Problem:
    """The refusal of a batch that is too large."""
    return Problem("BATCH_TOO_LARGE", f"{count} rows were sent, the limit is {limit}", pointer="/instances")


def options(parameters: Any) -> Options:
    """The options in the value of `parameters`.

    Raises:
        Problem: TYPE, UNKNOWN_FIELD or PARAMETER, with a pointer.
    """
    if not isinstance(parameters, dict):
        raise Problem("TYPE", "parameters must be an object", pointer="/parameters")
    _check_members(parameters, _PARAMETERS, "/parameters")
    return Options(
        top_k=_top_k(parameters.get("top_k", DEFAULT_TOP_K)),
        probabilities=_switch(parameters, "probabilities"),
        logits=_switch(parameters, "logits"),
        coverage=_coverage(parameters),
        coverage_method=_coverage_method(parameters),
        abstain=_switch(parameters, "abstain"),
        novelty=_switch(parameters, "novelty"),
        candidates=_candidates(parameters),
        exclude_seen=_switch(parameters, "exclude_seen"),
    )


def _top_k(value: Any) -> int:
    """An integer from 1; above the number of labels that the graph gives it means all of those, however large it is."""
    if type(value) is not int or not 1 <= value <= _TOP_K_LIMIT:
        raise Problem("PARAMETER", "top_k must be an integer of at least 1", pointer="/parameters/top_k")
    return value


def _coverage(parameters: Mapping[str, Any]) -> float | None:
    value = parameters.get("coverage")
    if "coverage" in parameters and not (isinstance(value, float) and 0.0 < value < 1.0):
        detail = "coverage must be a number between 0 and 1, both excluded"
        raise Problem("PARAMETER", detail, pointer="/parameters/coverage")
    return value


def _coverage_method(parameters: Mapping[str, Any]) -> Method:
    value = parameters.get("coverage_method", DEFAULT.coverage_method)
    if value not in ("plain", "adaptive") or ("coverage_method" in parameters and "coverage" not in parameters):
        detail = 'coverage_method must be "plain" or "adaptive" and goes with coverage'
        raise Problem("PARAMETER", detail, pointer="/parameters/coverage_method")
    method: Method = value
    return method


def _candidates(parameters: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Whether they are labels is for the version to say."""
    if "candidates" not in parameters:
        return None
    value, place = parameters["candidates"], "/parameters/candidates"
    if not isinstance(value, list) or not value:
        raise Problem("PARAMETER", "candidates must be an array of at least one label", pointer=place)
    for index, label in enumerate(value):
        if not isinstance(label, str):
            raise Problem("PARAMETER", "a label is a string", pointer=f"{place}/{index}")
    return tuple(value)


def _switch(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise Problem("PARAMETER", f"{name} must be true or false", pointer=f"/parameters/{name}")
    return value


def _check_members(members: Iterable[str], known: tuple[str, ...], pointer: str) -> None:
    """The pointer names the object: the member's own name is the caller's and is not repeated."""
    unknown = sum(member not in known for member in members)
    if unknown:
        detail = f"{unknown} unknown; known are {', '.join(known)}"
        raise Problem("UNKNOWN_FIELD", detail, pointer=pointer)
