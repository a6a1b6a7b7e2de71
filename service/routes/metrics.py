"""What the service counts, for Prometheus."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.concurrency import run_in_threadpool

from service.admission import Admission
from service.routes.bodies import problem_responses
from service.telemetry.telemetry import Telemetry

PATH = "/metrics"
_CONTENT = {"text/plain": {"schema": {"type": "string"}}}


def router(telemetry: Telemetry, admission: Admission) -> APIRouter:
    """One page, over all workers, whichever of them answers."""
    routes = APIRouter(tags=["metrics"])
    responses = {200: {"content": _CONTENT}, **problem_responses(401, 405)}

    @routes.get(PATH, response_class=Response, responses=responses, summary="Metrics of all workers, for Prometheus")
    async def metrics(accept: Annotated[str, Header(include_in_schema=False)] = "") -> Response:
        telemetry.sample(admission)
        # Beside the event loop: with many versions the text takes longer than a request may wait.
        media_type, content = await run_in_threadpool(telemetry.exposition, accept)
        return Response(content, headers={"content-type": media_type})

    return routes
