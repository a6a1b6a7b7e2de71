"""The metrics that the documents, the board and the rules name are those that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.telemetry import metric, route
from service.telemetry.metric import METRICS, Metric

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("one", METRICS, ids=lambda one: one.name)
def test_every_metric_is_documented(one: Metric) -> None:
    """With its labels and its meaning."""
    labels = ", ".join(f"`{label}`" for label in one.labels)
    assert f"| `{one.shown_name}` | {one.kind} | {labels} | {one.meaning} |" in DOCUMENT


def test_no_metric_is_documented_that_does_not_exist() -> None:
    """The tables are the list."""
    listed = re.findall(r"^\| `(clipmax_\w+)`", DOCUMENT, re.MULTILINE)
    assert sorted(listed) == sorted(one.shown_name for one in METRICS)


def test_names_follow_the_conventions() -> None:
    """Base units and no total but a counter's."""
    for one in METRICS:
        assert re.fullmatch(r"clipmax_[a-z]+(_[a-z]+)*", one.name)
        assert not one.name.endswith(("_total", "_count", "_sum", "_bucket", "_ms"))
        assert list(one.buckets) == sorted(one.buckets)
    assert len({one.name for one in METRICS}) == len(METRICS)
    assert metric.REQUESTS.shown_name == "clipmax_requests_total"


def test_paths_are_counted_under_their_templates() -> None:
    """Those that ask a version by the shape of the path, unknown ones together."""
    paths = {
        "/predict": "/predict",
        "/v1/models/a:predict": "/v1/models/{name}:predict",
        "/v1/models/a/versions/7:predict": "/v1/models/{name}/versions/{version}:predict",
        "/v2/models/a/infer": "/v2/models/{name}/infer",
        "/v2/models/a/versions/canary/infer": "/v2/models/{name}/versions/{version}/infer",
    }
    for path, template in paths.items():
        assert route.TEMPLATES[route.number_of_predict_path(path)] == template
        assert route.number(template) == route.number_of_predict_path(path)
    assert route.TEMPLATES[route.number("/no/such/{thing}")] == route.OTHER
