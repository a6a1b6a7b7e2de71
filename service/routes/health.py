"""Whether the process lives, and whether it should be sent requests."""

from __future__ import annotations

import math
import time
from typing import Any

from fastapi import APIRouter

from clipmax.problems import Problem
from service.engine.catalog import Catalog
from service.routes.bodies import problem_responses

LIVE, READY = "/v2/health/live", "/v2/health/ready"


class Draining:
    """Set once, when the process was asked to end: until when it still takes requests."""

    def __init__(self) -> None:
        self._until: float | None = None

    def start(self, delay_seconds: float) -> None:
        self._until = time.monotonic() + delay_seconds

    @property
    def is_on(self) -> bool:
        return self._until is not None

    @property
    def is_over(self) -> bool:
        """Whether the delay has passed."""
        return self._until is not None and time.monotonic() >= self._until

    @property
    def retry_after_seconds(self) -> int:
        """When this address may answer again: another process can take the port once this one has left it."""
        remaining = (self._until or 0.0) - time.monotonic()
        return 1 + max(0, math.ceil(remaining))


def router(catalog: Catalog, draining: Draining) -> APIRouter:
    """The two questions of the Open Inference Protocol; no key is asked for."""
    routes = APIRouter(tags=["health"])

    @routes.get(LIVE, summary="The process lives")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get(READY, responses=problem_responses(503, media_type="application/json"), summary="Requests are welcome")
    async def ready() -> dict[str, Any]:
        if draining.is_on:
            wait = draining.retry_after_seconds
            raise Problem("DRAINING", "the service is about to end", retry_after_seconds=wait)
        if not catalog.is_ready:
            raise Problem("NOT_READY", "the models are being loaded", retry_after_seconds=1)
        return {"ready": True, "status": "degraded" if catalog.is_degraded else "ok"}

    return routes
