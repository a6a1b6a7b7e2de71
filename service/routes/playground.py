"""The page `/`: its files, what it needs to know of the models, and the report of a version's training."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter, Response

from clipmax import inputs
from clipmax.inputs import CategoryInput, HistoryInput, Input
from clipmax.manifest import Golden, Manifest, Metrics, TopGolden
from service.engine.catalog import Catalog, Version
from service.engine.session import Session
from service.routes import v1

REPORT = "report.html"
_SHOWN = 1000
"""Of labels and categories: more would be a page nobody reads."""

_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PLACE = "/playground/"
_PAGE = "index.html"
_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)

# Everything from here and nothing inline; scripts may not make markup from text either.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

Files = Mapping[str, tuple[bytes, str]]
"""Path → content and media type."""


def files() -> Files:
    """The page's own files: the same for everybody, so no key is asked for them."""
    return dict(_files())


def _files() -> Iterator[tuple[str, tuple[bytes, str]]]:
    root = resources.files("service").joinpath("playground")
    for folder in ("", "words/"):
        for file in root.joinpath(folder).iterdir():
            media_type = _MEDIA_TYPES.get(PurePosixPath(file.name).suffix)
            if media_type is not None and file.is_file():
                path = "/" if file.name == _PAGE else f"{_PLACE}{folder}{file.name}"
                yield path, (file.read_bytes(), media_type)


def router(catalog: Catalog, served: Files) -> APIRouter:
    """The page and its files, the models in its words, and the reports."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/playground/models.json")
    async def models() -> dict[str, Any]:
        return overview(catalog)

    @routes.get("/playground/models/{name}/{version}.json")
    async def model(name: str, version: str) -> dict[str, Any]:
        return described(catalog.find(name, v1.address_of(version)))

    @routes.get("/playground/reports/{name}/{version}")
    def report(name: str, version: str) -> Response:
        content = catalog.read(catalog.find(name, v1.address_of(version)), REPORT)
        return Response(
            content, media_type="text/html", headers=_HEADERS | {"Content-Security-Policy": _policy(content)}
        )

    for path, (content, media_type) in served.items():
        _add_file(routes, path, content, media_type)
    return routes


def _add_file(routes: APIRouter, path: str, content: bytes, media_type: str) -> None:
    @routes.get(path)
    async def file() -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)


def _policy(report: bytes) -> str:
    """For one self-contained document: no script, and only the styles that it was published with."""
    digests = [base64.b64encode(hashlib.sha256(style).digest()).decode() for style in _STYLE.findall(report)]
    styles = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return f"default-src 'none'; img-src data:; style-src {styles}; base-uri 'none'; form-action 'none'; sandbox"


def overview(catalog: Catalog) -> dict[str, Any]:
    """Every model that serves, and the states of its versions, newest first."""
    return {
        "default_model": catalog.default_model,
        "models": [_model(catalog, name) for name in catalog.served_names()],
    }


def _model(catalog: Catalog, name: str) -> dict[str, Any]:
    aliases = catalog.aliases(name)
    return {
        "name": name,
        "serves": catalog.find(name).manifest.version,
        "versions": [_version(version, aliases) for version in reversed(catalog.versions(name))],
    }


def _version(version: Version, aliases: Mapping[str, int]) -> dict[str, Any]:
    manifest = None if version.session is None else version.session.manifest
    return {
        "version": version.number,
        "state": version.state.value,
        "aliases": sorted(alias for alias, number in aliases.items() if number == version.number),
        "reason": None if version.reason is None else v1.reason_of(version.reason),
        "created": None if manifest is None else manifest.created.isoformat(),
        "accuracy": None if manifest is None else _figures(manifest.metrics).get("accuracy"),
    }


def described(session: Session) -> dict[str, Any]:
    """What the page is made from: inputs, labels, what may be asked for, figures and examples."""
    manifest = session.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "provider": session.provider,
        "asked": session.asked,
        "degraded": session.degraded,
        "inputs": [_input(one) for one in manifest.inputs],
        "labels": manifest.labels[:_SHOWN],
        "labels_count": len(manifest.labels),
        "temperature": manifest.temperature,
        "is_top": manifest.is_top,
        "approximate": manifest.is_approximate,
        "imported": manifest.imported is not None,
        "coverage": manifest.conformal is not None and not manifest.is_top,
        "novelty": manifest.novelty is not None,
        "abstention": None if manifest.abstention is None else manifest.abstention.model_dump(),
        "metrics": _figures(manifest.metrics),
        "ranking": None if manifest.ranking is None else manifest.ranking.model_dump(exclude={"baselines"}),
        "examples": [_example(manifest, golden) for golden in manifest.golden],
        "report": f"playground/reports/{manifest.name}/{manifest.version}" if REPORT in manifest.files else None,
    }


def _figures(metrics: Metrics | None) -> dict[str, Any]:
    """What was measured, which may be nothing."""
    return {} if metrics is None else metrics.model_dump()


def _input(schema: Input) -> dict[str, Any]:
    found = schema.model_dump(mode="json")
    if isinstance(schema, CategoryInput):
        found |= {"categories": schema.categories[:_SHOWN], "categories_count": len(schema.categories)}
    elif isinstance(schema, HistoryInput):
        found |= {"items": schema.items[:_SHOWN], "items_count": len(schema.items)}
    return found


def _example(manifest: Manifest, golden: Golden | TopGolden) -> dict[str, Any]:
    top, probability = golden.best
    return {
        "values": inputs.by_name(manifest.inputs, golden.instance),
        "label": manifest.labels[top],
        "probability": probability,
    }
