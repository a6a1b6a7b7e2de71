"""The page `/docs`: Swagger UI from the installed package, so that it works without any other host."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Response

from clipmax.problems import Problem

OPENAPI = "/openapi.json"
_PACKAGE = "fastapi_swagger.resources"
_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}

# Everything from here and nothing inline, but for the styles that Swagger UI sets on its elements.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>clipmax API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", tryItOutEnabled: true, validatorUrl: null});\n'


def router() -> APIRouter:
    """The page, its script and the files it needs."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    async def page() -> Response:
        return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": _POLICY})

    @routes.get("/docs/start.js")
    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    @routes.get("/docs/{file}")
    async def asset(file: str) -> Response:
        if file not in _MEDIA_TYPES:
            raise Problem("PATH_NOT_FOUND", "no such path")
        content = resources.files(_PACKAGE).joinpath(file).read_bytes()
        return Response(content, media_type=_MEDIA_TYPES[file], headers={"Cache-Control": "max-age=86400"})

    return routes
