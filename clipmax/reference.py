"""What the model saw and answered on validation: against it a service can tell whether its traffic has drifted."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, le=1.0)]

TOP_PROBABILITY_BINS = 20
QUANTILES = (0.0, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0)
MOST_FREQUENT = 32


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NumbersReference(_Part):
    """One number a row: of an image its mean pixel, of a number its value, of a text its length in code points."""

    kind: Literal["numbers"] = "numbers"
    of: Literal["mean pixel", "value", "length"]
    missing: Share = Field(description="share of rows without a value; the rest counts below")
    mean: float | None = Field(description="null where every row is missing")
    quantiles: tuple[float, ...] = Field(
        description=f"at the shares {', '.join(f'{share:g}' for share in QUANTILES)}; empty where every row is missing"
    )

    at_most: tuple[Share, ...] = Field(
        default=(),
        description="share of the rows with a value that are at most each quantile: more than the quantile's own where "
        "many rows have that very value; empty in versions published before it was kept",
    )

    @model_validator(mode="after")
    def _check_quantiles(self) -> NumbersReference:
        if len(self.quantiles) not in (0, len(QUANTILES)):
            raise ValueError(f"{len(QUANTILES)} quantiles; there are {len(self.quantiles)}")
        if any(first > second for first, second in pairwise(self.quantiles)):
            raise ValueError("ascending quantiles")
        if len(self.at_most) not in (0, len(self.quantiles)):
            raise ValueError(f"a share for each of {len(self.quantiles)} quantiles; there are {len(self.at_most)}")
        if any(first > second for first, second in pairwise(self.at_most)):
            raise ValueError("ascending shares")
        return self


class WordsReference(_Part):
    """The words of a category."""

    kind: Literal["words"] = "words"
    missing: Share
    unknown: Share = Field(description="share of rows with a word that training never saw")
    shares: dict[str, Share] = Field(description=f"of the most frequent words, at most {MOST_FREQUENT}")


InputReference = Annotated[NumbersReference | WordsReference, Field(discriminator="kind")]


class Reference(_Part):
    """Statistics of the validation split, none of which identifies a row."""

    rows: int = Field(ge=1)
    predicted: tuple[Share, ...] = Field(description="share of rows that each label was the answer of, in label order")
    top_probability: tuple[Share, ...] = Field(
        min_length=TOP_PROBABILITY_BINS,
        max_length=TOP_PROBABILITY_BINS,
        description=f"share of rows by top probability, in {TOP_PROBABILITY_BINS} bins of equal width from 0 to 1",
    )
    inputs: dict[str, InputReference]
