"""A published version and a table of purchases → its figures on the next baskets, by the graph that is served."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from clipmax.inputs import HistoryInput
from clipmax.manifest import Manifest
from clipmax.ranking import Interval, Measured
from clipmax.refusal import Refusal, shorten
from training import paired
from training.compare import Version
from training.config import EventSource
from training.data import baskets
from training.next_basket import judging, run

NAMES = {
    "ndcg_at_10": "NDCG@10",
    "recall_at_20": "recall@20",
    "new_ndcg_at_10": "new: NDCG@10",
    "new_recall_at_20": "new: recall@20",
    "log_loss": "log loss",
}
"""Member of `Measured` → what a person reads."""


class BasketEvaluation(BaseModel):
    """What a version does on the next baskets of a table. Log loss is in nats."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    version: int
    same_data: bool = Field(description="whether the purchases and splits are those of the version's own run")
    left_out: dict[str, int] = Field(description="why rows of the file are not used → how many")
    test: Measured
    intervals: dict[str, Interval] = Field(description="figure → 95 %, by the bootstrap over customers")
    manifest_ranking: Measured | None = Field(description="what training measured; null: it did not")


def evaluate(folder: Path, source: EventSource) -> BasketEvaluation:
    """Ask the graph of a version about every customer of the test split, as a client of the service would.

    The version's own items are asked about, whatever others the table has.

    Raises:
        Refusal: a broken version or one of other inputs; a split that it has seen; what `baskets.read` refuses.
    """
    version = Version.read(folder)
    schema = schema_of(version)
    check_unseen(version, source)
    events = baskets.read(source, items=schema.items)
    judged = judging.judge(version.graph, schema, events.test)
    manifest = version.manifest
    return BasketEvaluation(
        model=manifest.name,
        version=manifest.version,
        same_data=manifest.data is not None and run.fingerprint(events) == manifest.data.fingerprint,
        left_out=dict(events.left_out),
        test=judging.measured(judged, purchases=len(events.test.past)),
        intervals={name: paired.mean_interval(each) for name, each in judged.by_customer.items() if len(each)},
        manifest_ranking=_stated(manifest),
    )


def schema_of(version: Version) -> HistoryInput:
    """The input of a version that tells the next items of histories. Raises Refusal for another one."""
    inputs, name = version.manifest.inputs, version.name
    if len(inputs) != 1 or not isinstance(inputs[0], HistoryInput):
        found = ", ".join(f"{one.name} ({one.kind})" for one in inputs)
        raise Refusal(name, "inputs", expected="one history, where data are purchases", found=shorten(found))
    if version.manifest.labels != inputs[0].items:
        raise Refusal(name, "labels", expected="the items of its histories", found="others")
    return inputs[0]


def check_unseen(version: Version, source: EventSource) -> None:
    """Raises Refusal where the version was trained on purchases of the days that it would be asked about."""
    until = _seen_until(version)
    if until is not None and until > source.test_from:
        expected = f"{until} or later, for {version.name} has seen what was bought before"
        raise Refusal(source.file, "data.test_from", expected=expected, found=str(source.test_from))


def _seen_until(version: Version) -> date | None:
    """The day before which its purchases were; None: its manifest does not say."""
    training = version.manifest.training
    data = training.configuration.get("data") if training else None
    day = data.get("test_from") if isinstance(data, dict) else None
    return date.fromisoformat(day) if isinstance(day, str) else None


def lines(found: BasketEvaluation) -> list[str]:
    """The figures for a person, beside the manifest's."""
    stated, width = found.manifest_ranking, max(map(len, NAMES.values())) + 2
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in found.left_out.items() if count)
    return [
        f"{found.model} version {found.version} on the next baskets of {found.test.customers:,} customers"
        + ("" if found.same_data else " of other data than it was trained with"),
        f"rows left out: {left_out or 'none'}",
        "",
        f"{'':{width}}{'measured':>10}{'manifest':>10}   95 % interval of what was measured",
        *(
            f"{name:{width}}{getattr(found.test, member):10.4f}{_number(stated, member):>10}   {low:.4f} to {high:.4f}"
            for member, name in NAMES.items()
            if member in found.intervals
            for low, high in (found.intervals[member],)
        ),
        "",
        f"new: what the customer never bought, of {found.test.customers_with_new:,} customers",
        _agreement(found.test, stated),
    ]


def _number(stated: Measured | None, member: str) -> str:
    value = getattr(stated, member, None)
    return "–" if value is None else f"{value:.4f}"


def _agreement(found: Measured, stated: Measured | None) -> str:
    if stated is None:
        return "the manifest says that nothing was measured"
    pairs = zip(found.model_dump().values(), stated.model_dump().values(), strict=True)
    is_same = all(one == other or _is_close(one, other) for one, other in pairs)
    return f"the manifest says {'the same' if is_same else 'other'} figures"


def _is_close(one: float | None, other: float | None) -> bool:
    """As a sum is in another order, by another version of numpy."""
    return one is not None and other is not None and math.isclose(one, other, rel_tol=1e-9)


def _stated(manifest: Manifest) -> Measured | None:
    if manifest.ranking is None:
        return None
    return Measured.model_validate(manifest.ranking.model_dump(exclude={"baselines"}))
