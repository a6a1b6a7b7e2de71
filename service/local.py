"""A models folder → the whole service in this process, without a socket: an httpx transport to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from service.app import create_app
from service.settings import Settings

_UNBOUNDED_ROWS = 1_000_000
_UNBOUNDED_BYTES = 2**30


@asynccontextmanager
async def transport(models: Path, *, model: str | None, version: int | None) -> AsyncIterator[httpx.AsyncBaseTransport]:
    """Load as `clipmax serve` loads, and answer as it answers: the same code, so the same bits.

    The queue has no bound worth the name, for there is one caller, who bounds himself. The environment says nothing
    here: what it sets is meant for a service.

    Args:
        models: the models folder.
        model: that is behind the bare path too; the only one there is if None.
        version: load this one of the model, which then has to be named; the newest if None.

    Raises:
        Refusal: nothing in the folder can be served.
    """
    given = {
        "models": str(models),
        "watch_seconds": "0",
        "max_queue_rows": str(_UNBOUNDED_ROWS),
        "max_queue_bytes": str(_UNBOUNDED_BYTES),
    }
    if model is not None:
        given["default_model"] = model
    if version is not None:
        given["versions"] = f"latest,{model}={version}"
    app = create_app(Settings.read({}, given))
    async with app.router.lifespan_context(app):
        yield httpx.ASGITransport(app)
