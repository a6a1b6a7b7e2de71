"""Refusals: one sentence with where, field, expected and found."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clipmax.refusal import Refusal, shorten


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rate: float = Field(gt=0)


def validated(**values: object) -> Refusal:
    """What pydantic says about the values, in our four parts."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    return Refusal.from_validation("run.toml", caught.value)


def test_the_message_holds_the_four_parts() -> None:
    """In an order that reads as a sentence."""
    refusal = Refusal("a/file", "field", expected="one", found="two")
    assert str(refusal) == "a/file: field: expected one, found two"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0}, "run.toml: rate: expected greater than 0, found 0"),
        ({"rate": "x"}, "run.toml: rate: expected a valid number, unable to parse string as a number, found 'x'"),
        ({}, "run.toml: rate: expected a value, found nothing"),
        ({"rate": 1, "rat": 2}, "run.toml: rat: expected a known key, found an unknown one"),
    ],
)
def test_a_validation_error_becomes_a_refusal(values: dict[str, object], message: str) -> None:
    """The first of pydantic's findings, without its addresses and jargon."""
    assert str(validated(**values)) == message


def test_a_long_value_is_cut() -> None:
    """A message stays a line, whatever was found."""
    assert len(shorten("x" * 10_000)) < 100
