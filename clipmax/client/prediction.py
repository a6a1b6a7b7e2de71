"""A V1 answer → typed predictions, one a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from clipmax.client.errors import answer_invalid


@dataclass(frozen=True, slots=True)
class TopLabel:
    """One of the likeliest labels."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Novelty:
    """How unlike the training data a row is: the model's score, and the share of usual rows that is as novel."""

    score: float
    p_value: float


@dataclass(frozen=True, slots=True)
class History:
    """Purchases of items that the model knows, and of others; `prior` where it knows none, so that all look alike."""

    known: int
    unknown: int
    prior: bool


@dataclass(frozen=True, slots=True)
class Considered:
    """How many labels candidates and excluded items left, and the probability that one of them is right."""

    labels: int
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one row.

    `top` holds the likeliest labels, likeliest first; `probabilities` and `logits` every label's value, in the
    model's order, where they were asked for. `out_of_range` says that the graph clipped a value of the row,
    `provider` which execution provider ran: cpu, cuda or tensorrt.

    `prediction_set` holds the labels of a coverage that was asked for, likeliest first, and `abstained` says whether
    the model had better not decide; `novelty` is as asked for. Each is None where it was not. `unknown` names the
    inputs with a word that training never saw, `truncated` those with a text that was cut.

    `remainder` is the probability of all labels that are not in `top`, of a version that gives only the likeliest ones;
    `approximate` says that it scores some of its labels only and estimates the rest.

    `history` is there for a model that reads histories, `considered` where candidates were given or seen items
    excluded; probabilities are among all labels all the same.
    """

    label: str
    probability: float
    top: tuple[TopLabel, ...]
    probabilities: dict[str, float] | None
    logits: dict[str, float] | None
    out_of_range: bool
    model: str
    version: int
    provider: str
    request_id: str
    prediction_set: tuple[str, ...] | None = None
    abstained: bool | None = None
    novelty: Novelty | None = None
    unknown: tuple[str, ...] = ()
    truncated: tuple[str, ...] = ()
    remainder: float | None = None
    approximate: bool = False
    history: History | None = None
    considered: Considered | None = None


def read(response: httpx.Response, *, rows: int) -> list[Prediction]:
    """The predictions of an answer. Raises AnswerInvalid for one that is none of ours, or not to so many rows."""
    try:
        answer = orjson.loads(response.content)
        found = [_prediction(row, answer) for row in answer["predictions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise answer_invalid(response) from error
    if len(found) != rows:
        raise answer_invalid(response)
    return found


def _prediction(row: Mapping[str, Any], answer: Mapping[str, Any]) -> Prediction:
    return Prediction(
        label=row["label"],
        probability=row["probability"],
        top=tuple(TopLabel(label=top["label"], probability=top["probability"]) for top in row["top"]),
        probabilities=row.get("probabilities"),
        logits=row.get("logits"),
        out_of_range=row["out_of_range"],
        model=answer["model"],
        version=answer["version"],
        provider=answer["provider"],
        request_id=answer["request_id"],
        prediction_set=tuple(row["prediction_set"]) if "prediction_set" in row else None,
        abstained=row.get("abstained"),
        novelty=Novelty(**row["novelty"]) if "novelty" in row else None,
        unknown=tuple(row.get("unknown", ())),
        truncated=tuple(row.get("truncated", ())),
        remainder=row.get("remainder"),
        approximate=answer.get("approximate", False),
        history=History(**row["history"]) if "history" in row else None,
        considered=Considered(**row["considered"]) if "considered" in row else None,
    )
