"""Paths → the few templates under which requests are counted."""

from __future__ import annotations

OTHER = "other"
"""Whatever is none of the templates: a path that does not exist, or bytes that were no request."""

PREDICT = (
    "/predict",
    "/v1/models/{name}:predict",
    "/v1/models/{name}/versions/{version}:predict",
    "/v2/models/{name}/infer",
    "/v2/models/{name}/versions/{version}/infer",
)
"""Those that ask a version something; they come first, so that their numbers are small."""

TEMPLATES = (
    *PREDICT,
    "/",
    "/docs",
    "/metrics",
    "/openapi.json",
    "/v1/models/{name}",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{name}",
    "/v2/models/{name}/ready",
    "/v2/models/{name}/versions/{version}",
    "/v2/models/{name}/versions/{version}/ready",
    "/v2/repository/index",
    OTHER,
)
_NUMBERS = {template: number for number, template in enumerate(TEMPLATES)}
NOWHERE = _NUMBERS[OTHER]


def number(template: str) -> int:
    """Of a template; of one that is not counted by itself, that of `OTHER`."""
    return _NUMBERS.get(template, NOWHERE)


def number_of_predict_path(path: str) -> int:
    """Of a path that is known to ask a version."""
    if path == "/predict":
        return 0
    is_versioned = "/versions/" in path
    return (3 if path.startswith("/v2/") else 1) + is_versioned
