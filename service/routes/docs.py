"""The page `/docs`: Swagger UI from the installed package, so that it works without any other host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from fastapi import APIRouter, Response

_PAGE = "/docs"

# Everything from here and nothing inline, but for the styles that Swagger UI sets on its elements.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    media_type: str
    folder: str = "swagger"
    package: str = "service"
    cache: str = "no-cache"

    def answer(self) -> Response:
        content = resources.files(self.package).joinpath(self.folder, self.name).read_bytes()
        return Response(content, media_type=self.media_type, headers=_HEADERS | {"Cache-Control": self.cache})


def _bundled(name: str, media_type: str) -> _File:
    return _File(name, media_type, folder="resources", package="fastapi_swagger", cache="max-age=86400")


FILES: Mapping[str, _File] = MappingProxyType(
    {
        _PAGE: _File("index.html", "text/html"),
        f"{_PAGE}/start.js": _File("start.js", "text/javascript"),
        f"{_PAGE}/swagger-ui-bundle.js": _bundled("swagger-ui-bundle.js", "text/javascript"),
        f"{_PAGE}/swagger-ui.css": _bundled("swagger-ui.css", "text/css"),
        f"{_PAGE}/favicon-32x32.png": _bundled("favicon-32x32.png", "image/png"),
    }
)
"""By path. They say nothing about the models, so no key is asked for them; the OpenAPI document needs one."""


def router() -> APIRouter:
    """The page, its script and the files it needs."""
    routes = APIRouter(include_in_schema=False)
    for path, file in FILES.items():
        _add_file(routes, path, file)
    return routes


def _add_file(routes: APIRouter, path: str, file: _File) -> None:
    @routes.get(path)
    async def found() -> Response:
        return file.answer()
