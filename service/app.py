"""`create_app(settings)`: all wiring of the service is here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from clipmax.problems import Problem
from clipmax.refusal import Refusal
from service import logs
from service.admission import Bounds
from service.auth import KeyFile, Keys
from service.engine.catalog import Catalog
from service.engine.policy import Policy
from service.engine.providers import Execution
from service.engine.session import Session
from service.engine.watcher import Watcher
from service.exchange import KEY, Exchange, exchange_of
from service.hosts import Hosts
from service.inference import Inference
from service.origins import Origins
from service.reading.body import ClientGone
from service.reading.v1 import Limits
from service.routes import docs, health, metrics, openapi, playground, v1, v2
from service.settings import Settings, names_in
from service.telemetry import route
from service.telemetry.ledger import Ledger
from service.telemetry.telemetry import Silence, Telemetry

if TYPE_CHECKING:  # it needs the extra `otel`
    from service.telemetry.tracing import Tracer

_OPEN_PATHS = frozenset({health.LIVE, health.READY})
_MODEL_PATHS = ("/v1/models/", "/v2/models/")
_NO_TELEMETRY: Any = {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}


def create_app(settings: Settings, *, ledger: Ledger | None = None, page: int = 0) -> Service:
    """The service as an ASGI application; its lifespan loads the models.

    Args:
        settings: of the service.
        ledger: what it counts goes there, where other processes count too.
        page: its page in the ledger.

    Raises:
        Refusal: the file of API keys cannot be used, or traces are asked for without what they need.
    """
    execution = Execution(
        provider=settings.provider,
        policy=settings.provider_policy,
        threads=settings.threads,
        device=settings.provider_device,
        memory_bytes=settings.provider_memory_bytes,
        cache=settings.provider_cache,
    )
    catalog = Catalog(
        settings.models,
        execution,
        default_model=settings.default_model,
        policy=Policy.parse(settings.versions),
    )
    window = settings.drift_window_seconds
    counts = Telemetry(catalog, ledger=ledger, page=page, window_seconds=window) if settings.telemetry else Silence()
    return Service(
        catalog=catalog,
        telemetry=counts,
        tracer=_tracer(settings),
        key_file=None if settings.api_keys_file is None else KeyFile(settings.api_keys_file),
        hosts=None if settings.trusted_hosts is None else Hosts(names_in(settings.trusted_hosts)),
        origins=None if settings.cors_origins is None else Origins(names_in(settings.cors_origins)),
        watch_seconds=settings.watch_seconds,
        page=playground.files() if settings.playground else None,
        limits=Limits(
            settings.max_body_bytes, settings.max_batch_rows, settings.max_json_depth, settings.max_answer_values
        ),
        bounds=Bounds(settings.max_queue_rows, settings.max_queue_bytes, settings.max_client_rows),
    )


class Service(FastAPI):
    """FastAPI with one way in: request id, key and errors are the same for every path and method.

    Predict requests to models that serve are answered without FastAPI's routing, which would cost as much as
    everything else that is done for a small request.

    Attributes:
        catalog: the models; `catalog.open()` may be called before the lifespan to see a refusal early.
        draining: whether the process is about to end.
        plain_paths: those that are answered without routing, as they stand in a request.
        looks: what is done again and again while it runs, beside the event loop; see `Watcher`.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        limits: Limits,
        bounds: Bounds,
        telemetry: Telemetry | Silence,
        tracer: Tracer | None = None,
        key_file: KeyFile | None = None,
        hosts: Hosts | None = None,
        origins: Origins | None = None,
        watch_seconds: float = 0.0,
        page: playground.Files | None = None,
    ) -> None:
        super().__init__(
            title="clipmax",
            summary="Class probabilities you can trust",
            lifespan=_lifespan,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,  # the redirect would be built from the Host header
            # FastAPI sets up OpenTelemetry export by itself where OTEL variables are set; nothing leaves unasked.
            telemetry=_NO_TELEMETRY,
        )
        self.catalog = catalog
        self.draining = health.Draining()
        self.looks: list[Callable[[], object]] = [catalog.refresh]
        if key_file is not None:
            self.looks.append(key_file.refresh)
        self.watch_seconds = watch_seconds
        self._key_file, self._hosts, self._origins = key_file, hosts, origins
        self.counts, self.tracer = telemetry, tracer
        self.inference = Inference(limits, bounds, telemetry)
        self.predict_routes: dict[str, int] = {}
        self.plain_paths: dict[bytes, str] = {}
        self.predictor = v1.Predictor(catalog, self.inference)
        self.inferrer = v2.Inferrer(catalog, self.inference)
        self.targets: dict[str, Callable[[], Session]] = {}
        self.infer_targets: dict[str, Callable[[], Session]] = {}
        self.include_router(v1.router(catalog, self.predictor))
        self.include_router(v2.router(catalog, self.inferrer, limits))
        self.include_router(health.router(catalog, self.draining))
        self.include_router(docs.router())
        if isinstance(telemetry, Telemetry):
            self.include_router(metrics.router(telemetry, self.inference.admission))
        self._open_files = docs.FILES.keys() | (page or {}).keys()
        if page is not None:
            self.include_router(playground.router(catalog, page))
        self.add_exception_handler(Problem, _on_problem)
        self.add_exception_handler(HTTPException, _on_http_exception)
        self.add_exception_handler(Exception, _on_failure)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self.counts)
        if self.tracer is not None:
            exchange.trace = self.tracer.begin(exchange)
        self.counts.began()
        try:
            await self._answer(exchange)
        except ClientGone:
            self.counts.abandoned()
        except Problem as problem:
            await exchange.fail(problem)
        except Exception as error:  # noqa: BLE001  # the last line: whatever it is, the caller gets our 500
            logs.failure("request failed", error, request_id=exchange.request_id)
            await exchange.fail(_internal())
        finally:
            self.inference.admission.release(exchange)
            self.counts.ended()
            if self.tracer is not None and exchange.trace is not None:
                self.tracer.end(exchange.trace, exchange)

    @property
    def keys(self) -> Keys | None:
        """The keys that are accepted at present; None where none is asked for."""
        return None if self._key_file is None else self._key_file.keys

    def is_quick(self, method: str, path: str) -> bool:
        """Whether a request is answered without routing, and so without anything that asks for its task."""
        return method == "POST" and (path in self.targets or path in self.infer_targets)

    def retarget(self) -> None:
        """Follow the catalog: which paths are answered without routing, and what /docs shows."""
        self.targets, self.infer_targets = self.predictor.targets(), self.inferrer.targets()
        paths = [*self.targets, *self.infer_targets]
        self.predict_routes = {path: route.number_of_predict_path(path) for path in paths}
        self.plain_paths = {path.encode("ascii"): path for path in paths}
        self.counts.follow()
        self.openapi_schema = None

    async def _answer(self, exchange: Exchange) -> None:
        scope, path = exchange.scope, exchange.scope["path"]
        exchange.route = self.predict_routes.get(path, route.NOWHERE)
        if self._origins is not None:
            exchange.extra = self._origins.headers(exchange.headers)
            answer = self._origins.preflight(scope["method"], exchange.headers)
            if answer is not None:
                await exchange.write(answer)
                return
        if exchange.trace is not None:
            exchange.extra = (*exchange.extra, exchange.trace.header)
        if path not in _OPEN_PATHS:
            self._check_caller(path, exchange.headers)
        if scope["method"] == "POST":
            find = self.targets.get(path)
            if find is not None:
                await exchange.reply(await self.predictor.predict(exchange, find))
                return
            find = self.infer_targets.get(path)
            if find is not None:
                await exchange.write(await self.inferrer.infer(exchange, find))
                return
        self.inference.settle()
        # The server drops the body of an answer to HEAD, by the method in its own scope.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        inner = {**scope, "method": method, KEY: exchange}  # in a copy: the exchange knows its scope
        exchange.routed = inner
        await super().__call__(inner, exchange.receive, exchange.send)

    def _check_caller(self, path: str, headers: Mapping[bytes, bytes]) -> None:
        if self._hosts is not None:
            self._hosts.check(headers)
        keys = self.keys
        if keys is not None and path not in self._open_files:  # a browser comes without a key; the pages ask for one
            keys.check(headers)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi.with_models(super().openapi(), self.catalog)
            if self.keys is not None:
                openapi.add_keys(self.openapi_schema)
        return self.openapi_schema


@asynccontextmanager
async def _lifespan(app: Service) -> AsyncIterator[None]:
    app.catalog.open()
    app.retarget()
    loop = asyncio.get_running_loop()
    app.catalog.on_change = lambda: loop.call_soon_threadsafe(app.retarget)
    watcher = Watcher(app.watch_seconds, app.looks)
    watcher.start()
    yield
    watcher.stop()
    app.inference.close()
    if app.tracer is not None:
        await asyncio.to_thread(app.tracer.close)


def _tracer(settings: Settings) -> Tracer | None:
    if settings.traces_endpoint is None:
        return None
    try:
        from service.telemetry.tracing import Tracer
    except ModuleNotFoundError as error:
        expected = "the extra otel: pip install 'clipmax[otel]'"
        raise Refusal("settings", "CLIPMAX_TRACES_ENDPOINT", expected=expected, found=f"no {error.name}") from error
    return Tracer.to(settings.traces_endpoint, settings.traces_ratio)


def _internal() -> Problem:
    return Problem("INTERNAL", "something failed that should not; the log has it under the request id")


def _response(request: Request, problem: Problem) -> Response:
    rendered = exchange_of(request.scope).render(problem)
    headers = {name.decode(): value.decode() for name, value in rendered.headers}
    return Response(rendered.body, rendered.status, headers)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  # registered for this class
    return _response(request, error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What starlette's routing raises: no such path, or not this method."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for this class
    if error.status_code == 405:
        return _wrong_method(request, (error.headers or {}).get("Allow", ""))
    if request.scope["path"].startswith(_MODEL_PATHS):
        return _response(request, Problem("MODEL_NOT_FOUND", "no model of this name and version is served"))
    return _response(request, Problem("PATH_NOT_FOUND", "no such path; /docs lists those there are"))


def _wrong_method(request: Request, allowed: str) -> Response:
    """405 with the methods there are; OPTIONS asks for just them."""
    methods = [method.strip() for method in allowed.split(",") if method.strip()]
    if "GET" in methods and "HEAD" not in methods:
        methods.append("HEAD")
    allow = ", ".join(sorted({*methods, "OPTIONS"}))
    if request.method == "OPTIONS":
        return Response(status_code=204, headers={"Allow": allow})
    return _response(request, Problem("METHOD_NOT_ALLOWED", f"allowed here: {allow}", headers={"Allow": allow}))


async def _on_failure(request: Request, _error: Exception) -> Response:
    return _response(request, _internal())
