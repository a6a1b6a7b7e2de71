"""What a model of next baskets reached, beside simpler methods → `report.html` and `report.json`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from clipmax.ranking import Ranking
from training import provenance
from training.report import build, page
from training.report.figures import Environment

_TEMPLATE = "baskets.html.jinja"
_FEATURES = (
    "log(1 + times bought)",
    "log(1 + times bought lately), each basket counted exp(-days / 60)",
    "bought at all",
    "EASE's score, where it was never bought",
    "log(1 + recent popularity)",
)


class BasketsReport(BaseModel):
    """The content of `report.json` of a model of next baskets."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    report_version: Literal[1] = 1
    form: Literal["baskets"] = "baskets"
    name: str
    version: int
    created: datetime
    items: int
    temperature: float
    window: float = Field(description="days of recent popularity")
    weights: tuple[float, float, float, float, float] = Field(description="of the features, in the page's order")
    test: Ranking
    rows: dict[str, int] = Field(description="customers whose next basket was asked for")
    left_out: dict[str, int] = Field(description="why rows of the file are not used → how many")
    fingerprint: str
    files: dict[str, str]
    configuration: dict[str, JsonValue]
    environment: Environment


def environment() -> Environment:
    """Where this process runs."""
    return build.environment(provenance.libraries(), provenance.git_commit())


def files(report: BasketsReport) -> dict[str, bytes]:
    """File name → content of both files of a published version."""
    return {
        page.HTML_FILE: render(report).encode(),
        page.JSON_FILE: (report.model_dump_json(indent=1) + "\n").encode(),
    }


def render(report: BasketsReport) -> str:
    """The page. Names and configuration are escaped wherever they stand."""
    text: str = (
        page.environment()
        .get_template(_TEMPLATE)
        .render(
            report=report,
            **page.style_sheet(),
            weights=list(zip(_FEATURES, report.weights, strict=True)),
            methods=sorted(report.test.baselines.items(), key=lambda one: -one[1].ndcg_at_10),
            configuration=page.flat(report.configuration),
        )
    )
    return text
