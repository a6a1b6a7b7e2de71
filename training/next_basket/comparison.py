"""Two versions and the same purchases → what one tells better of the next baskets, and what of it is beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from clipmax.inputs import HistoryInput
from clipmax.refusal import Refusal
from training import compare as versions
from training import paired, run_file
from training.compare import Change, Version
from training.config import EventSource
from training.data import baskets
from training.next_basket import judging
from training.next_basket.evaluation import NAMES, check_unseen, schema_of
from training.next_basket.ranking import Floats


class BasketComparison(BaseModel):
    """What a version tells of the next baskets of the same customers differently from another."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    before: str
    after: str
    data: str
    customers: int
    customers_with_new: int = Field(description="of them bought an item that they never had")
    left_out: dict[str, int] = Field(description="why rows of the file are not used → how many")
    only_before: tuple[str, ...] = Field(description="items that the later version does not have")
    only_after: tuple[str, ...]
    figures: dict[str, Change] = Field(description="those of new items are there if anybody bought some")
    better: int = Field(description="customers with a higher NDCG@10 than before")
    worse: int
    sign_test: float = Field(description="exact two-sided p-value that neither version is better more often")
    resamples: int
    seed: int


def purchases(data: Path, before: Version, after: Version, *, overrides: Sequence[str] = ()) -> EventSource | None:
    """What a RUN.toml of purchases names, with its `overrides`; None for other versions on other data.

    Raises:
        Refusal: versions that read histories, and data that are no purchases, or do not say what their columns are.
    """
    source = run_file.read(data, overrides).data if data.suffix == ".toml" else None
    if isinstance(source, EventSource):
        return source
    reading = next((one for one in (before, after) if isinstance(one.manifest.inputs[0], HistoryInput)), None)
    if reading is not None:
        expected = f"a RUN.toml whose [data] names the columns of purchases, for {reading.name} reads histories"
        raise Refusal(data, "--data", expected=expected, found="other data")
    return None


def compare(
    before: Version, after: Version, source: EventSource, *, common_labels: bool = False, seed: int = 0
) -> BasketComparison:
    """Ask both graphs about the customers of the test split.

    Where the items differ, only the common ones are in the histories, ranked and counted.

    Args:
        before: the version to compare with.
        after: the version that is judged.
        source: purchases; neither was trained on those from `test_from` on.
        common_labels: where items differ, whether to leave out those that one version lacks.
        seed: of the bootstrap.

    Raises:
        Refusal: items that differ, a version of other inputs, a split that one has seen, what `baskets.read` refuses.
    """
    pairs = [(version, schema_of(version)) for version in (before, after)]
    both = versions.common(before, after, asked=common_labels)
    for version, _ in pairs:
        check_unseen(version, source)
    events = baskets.read(source, items=both)
    old, new = (judging.judge(one.graph, schema, events.test, items=both).by_customer for one, schema in pairs)
    gaps = new["ndcg_at_10"] - old["ndcg_at_10"]
    better, worse = int((gaps > 0).sum()), int((gaps < 0).sum())
    return BasketComparison(
        before=before.name,
        after=after.name,
        data=source.file.name,
        customers=len(events.test),
        customers_with_new=len(old["new_ndcg_at_10"]),
        left_out=dict(events.left_out),
        only_before=tuple(word for word in before.manifest.labels if word not in set(both)),
        only_after=tuple(word for word in after.manifest.labels if word not in set(both)),
        figures={name: _change(old[name], new[name], seed) for name in NAMES if len(old[name])},
        better=better,
        worse=worse,
        sign_test=paired.mcnemar(worse, better),
        resamples=paired.RESAMPLES,
        seed=seed,
    )


def lines(found: BasketComparison) -> list[str]:
    """The before/after table for a person."""
    alike = found.customers - found.better - found.worse
    return [
        f"{found.before} → {found.after} on the next baskets of {found.customers:,} customers of {found.data}",
        *versions.only_lines(found.only_before, found.only_after),
        "",
        *versions.table({NAMES[member]: change for member, change in found.figures.items()}),
        "",
        f"new: what the customer never bought, of {found.customers_with_new:,} customers",
        f"NDCG@10 is higher for {found.better:,} customers, lower for {found.worse:,}, the same for {alike:,}",
        f"exact sign test: p = {found.sign_test:.3g}",
    ]


def _change(before: Floats, after: Floats, seed: int) -> Change:
    low, high = paired.mean_interval(after - before, seed=seed)
    return Change(before=float(np.mean(before)), after=float(np.mean(after)), low=low, high=high)
