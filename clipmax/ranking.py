"""How well a model ranks the items of next baskets, beside what simpler methods reach, as the manifest keeps it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Interval = Annotated[tuple[float, float], Field(description="95 %, by the paired bootstrap over customers")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Figures(_Part):
    """Means over the customers of the test split; all items are ranked."""

    ndcg_at_10: Share
    recall_at_20: Share
    new_ndcg_at_10: Share | None = Field(description="on items that the customer never bought; null: nobody bought any")
    new_recall_at_20: Share | None


class Ahead(_Part):
    """By how much the model's figures are higher than a baseline's: below 0, it is behind."""

    ndcg_at_10: Interval
    recall_at_20: Interval
    new_ndcg_at_10: Interval | None


class Baseline(Figures):
    """What a simpler method reaches on the same customers by the same code."""

    setting: str | None = Field(description="what was chosen on the validation split; null: there is nothing to choose")
    ahead: Ahead


class Measured(Figures):
    """What a served graph reached."""

    customers: int = Field(ge=1)
    customers_with_new: int = Field(ge=0, description="of them bought an item that they never had")
    purchases: int = Field(ge=1, description="before the test split, each item once a basket")
    log_loss: float = Field(ge=0.0, description="nats, each item of a basket one answer of the same share")
    log_loss_uncalibrated: float = Field(ge=0.0, description="the same before temperature")
    top_10_probability: Share = Field(description="that the graph gives its ten likeliest items together, on average")
    top_10_share: Share = Field(description="of the baskets that these ten really are, on average")


class Ranking(Measured):
    """The same beside simpler methods."""

    baselines: dict[str, Baseline]

    @property
    def best_baseline(self) -> str:
        """The name of the one with the highest NDCG@10."""
        return max(self.baselines, key=lambda name: self.baselines[name].ndcg_at_10)
