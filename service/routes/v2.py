"""The Open Inference Protocol (V2): metadata, readiness, inference and the index of what was found."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from clipmax.inputs import CategoryInput, HistoryInput, ImageInput, Input, NumberInput, TextInput
from clipmax.labels import INLINE
from clipmax.manifest import LOG_PARTITION, TOP_INDICES
from clipmax.novelty import OUTPUT as NOVELTY
from clipmax.problems import Problem
from service import answer_v2
from service.answer import OUT_OF_RANGE, Share
from service.engine.catalog import Catalog, State, Version
from service.engine.session import Session
from service.exchange import Exchange, Rendered, exchange_of
from service.inference import Inference
from service.reading import binary, json, tensors, v2
from service.reading import body as bodies_read
from service.reading.v1 import Limits
from service.routes import bodies, bodies_v2
from service.routes.v1 import address_of

EXTENSIONS = ("classification", "binary_tensor_data")
PLATFORM = "onnxruntime_onnx"
INDEX = "/v2/repository/index"

_JSON_TYPE = re.compile(rb'application/json\s*(;\s*charset="?utf-8"?\s*)?', re.IGNORECASE)
_OCTETS = b"application/octet-stream"
_SHOWN = 1000
"""Of categories, and of labels where there are so many that the manifest has them in a file."""

_SCALARS = {NOVELTY, LOG_PARTITION}
_INDEX_BYTES = 4096

# Triton's words for our states.
_STATES = {
    State.LOADING: "LOADING",
    State.SERVING: "READY",
    State.DRAINING: "UNLOADING",
    State.REFUSED: "UNAVAILABLE",
}

_problems = functools.partial(bodies.problem_responses, media_type="application/json")
_INFER_ERRORS = _problems(400, 401, 404, 405, 408, 413, 415, 429, 500, 504)
_ASK_ERRORS = _problems(401, 404, 405)
_INFER_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": bodies.reference(bodies_v2.InferRequest)},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
_INFER_HEADER = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "required": False,
    "description": "bytes of the JSON part, where raw tensors follow it",
    "schema": {"type": "integer", "minimum": 0},
}


class Inferrer:
    """An inference request in, the bytes of its answer out."""

    def __init__(self, catalog: Catalog, inference: Inference) -> None:
        self._catalog = catalog
        self._inference = inference

    async def infer(self, exchange: Exchange, find: Callable[[], Session]) -> Rendered:
        """The answer of the session that `find` gives, looked up before the body is read.

        Raises:
            Problem: whatever is wrong with the request.
            ClientGone: nobody waits for the answer any more.
        """
        session = exchange.session = find()
        check_headers(exchange.headers)
        question = await self._read(session, exchange)
        wanted, given_id = question.outputs, question.id
        rows, most_values = len(next(iter(question.tensors.values()))), self._inference.limits.max_answer_values
        answer_v2.check(session.manifest, wanted, rows=rows, most_values=most_values)
        waiting = self._inference.submit(session, question.tensors, exchange)
        del question  # held here until the answer, its tensors would make every other request take fresh memory
        share = waiting if isinstance(waiting, Share) else await waiting
        share.results.check(share.start, share.stop)
        flags = share.remarks[OUT_OF_RANGE, ""]
        return rendered(answer_v2.encode(session, share.outputs, flags, wanted, given_id or exchange.request_id))

    async def _read(self, session: Session, exchange: Exchange) -> v2.Question:
        coming = self._inference.body(exchange)
        body = coming if isinstance(coming, bytes) else await coming
        schemas, outputs = session.manifest.inputs, session.manifest.outputs
        work = functools.partial(v2.read, body, exchange.headers, schemas, outputs, self._inference.limits)
        return await self._inference.read(work, body_bytes=len(body))

    def targets(self) -> dict[str, Callable[[], Session]]:
        """Every inference path there is at present → where its session is found."""
        found: dict[str, Callable[[], Session]] = {}
        for name in self._catalog.served_names():
            found[f"/v2/models/{name}/infer"] = functools.partial(self._catalog.find, name)
            for version in self._catalog.addresses(name):
                find = functools.partial(self._catalog.find, name, version)
                found[f"/v2/models/{name}/versions/{version}/infer"] = find
        return found


def rendered(body: answer_v2.Body) -> Rendered:
    """An answer as status, headers and body."""
    length = (b"content-length", b"%d" % len(body.content))
    if body.json_bytes is None:
        return Rendered(200, [(b"content-type", b"application/json"), length], body.content)
    headers = [(b"content-type", _OCTETS), length, (binary.HEADER, b"%d" % body.json_bytes)]
    return Rendered(200, headers, body.content)


def check_headers(headers: bodies_read.Headers) -> None:
    """Refuse a body that claims to be neither JSON nor bytes; the stock clients often claim nothing at all.

    Raises:
        Problem: MEDIA_TYPE or CONTENT_ENCODING.
    """
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Problem("CONTENT_ENCODING", "send the body as it is, without Content-Encoding")
    given = headers.get(b"content-type", _OCTETS).strip()
    if given.lower() != _OCTETS and _JSON_TYPE.fullmatch(given) is None:
        raise Problem("MEDIA_TYPE", "send Content-Type: application/json in UTF-8, or application/octet-stream")


def server_metadata(default_model: str | None, limits: Limits) -> dict[str, Any]:
    """Who answers here, and what beyond the protocol's core; `parameters` holds what it has no place for."""
    return {
        "name": "clipmax",
        "version": installed_version("clipmax"),
        "extensions": list(EXTENSIONS),
        "parameters": {"default_model": default_model, "limits": _limits(limits)},
    }


def _limits(limits: Limits) -> dict[str, int]:
    return {"max_batch_rows": limits.max_batch_rows, "max_body_bytes": limits.max_body_bytes}


def model_metadata(session: Session, versions: list[int], limits: Limits) -> dict[str, Any]:
    """What a model takes and gives; `parameters` holds what the protocol has no place for."""
    manifest = session.manifest
    outputs: list[tuple[str, str, list[int]]] = [
        (name, "INT64" if name == TOP_INDICES else "FP32", [-1] if name in _SCALARS else [-1, manifest.answered])
        for name in manifest.outputs
    ]
    outputs += [(v2.LABEL, "BYTES", [-1]), (v2.OUT_OF_RANGE, "BOOL", [-1])]
    return {
        "name": manifest.name,
        "versions": [str(number) for number in versions],
        "platform": PLATFORM,
        "inputs": [
            {"name": one.name, "datatype": tensors.datatypes(one)[0], "shape": [-1, *tensors.row_shape(one)]}
            for one in manifest.inputs
        ],
        "outputs": [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in outputs],
        "parameters": {
            "version": manifest.version,
            "labels": manifest.labels if manifest.classes <= INLINE else manifest.labels[:_SHOWN],
            "labels_count": manifest.classes,
            "approximate": manifest.is_approximate,
            "provider": session.provider,
            "operators": dict(session.operators),
            "inputs": {one.name: _input_parameters(one) for one in manifest.inputs},
            "limits": _limits(limits),
        },
    }


def _input_parameters(schema: Input) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": schema.kind, "datatypes": list(tensors.datatypes(schema))}
    if isinstance(schema, ImageInput | NumberInput):
        found |= {"minimum": schema.minimum, "maximum": schema.maximum}
    elif isinstance(schema, CategoryInput):
        found |= {"categories": schema.categories[:_SHOWN], "categories_count": len(schema.categories)}
    elif isinstance(schema, TextInput):
        found |= {"max_length": schema.max_length}
    elif isinstance(schema, HistoryInput):
        found |= {"items": schema.items[:_SHOWN], "items_count": len(schema.items), "max_length": schema.max_length}
    return found


def index(versions: list[Version], *, ready: bool = False) -> list[dict[str, str]]:
    """Every version that was found, by name and number, as Triton's model repository extension has it."""
    return [
        {"name": one.name, "version": str(one.number), "state": _STATES[one.state], "reason": _reason(one)}
        for one in versions
        if one.state is State.SERVING or not ready
    ]


def _reason(version: Version) -> str:
    """One line, the path cut to its last name."""
    reason = version.reason
    if reason is None:
        return ""
    return f"{Path(reason.where).name}: {reason.field}: expected {reason.expected}, found {reason.found}"


def router(catalog: Catalog, inferrer: Inferrer, limits: Limits) -> APIRouter:
    """The path operations. The inference paths of models that serve are answered before routing (see `app`);
    here they are described, and answered for names that are not known.
    """
    routes = APIRouter(tags=["V2"])
    _add_metadata(routes, catalog, limits)
    _add_readiness(routes, catalog)
    _add_inference(routes, catalog, inferrer)
    _add_index(routes, catalog, limits)
    return routes


def _add_metadata(routes: APIRouter, catalog: Catalog, limits: Limits) -> None:
    @routes.get(
        "/v2", response_model=bodies_v2.ServerMetadata, responses=_problems(401, 405), summary="Metadata of the server"
    )
    async def server() -> dict[str, Any]:
        return server_metadata(catalog.default_model, limits)

    metadata_route = functools.partial(routes.get, response_model=bodies_v2.ModelMetadata, responses=_ASK_ERRORS)

    @metadata_route("/v2/models/{name}", summary="Metadata of a model's newest version")
    async def model(name: str) -> dict[str, Any]:
        return model_metadata(catalog.find(name), catalog.serving_versions(name), limits)

    @metadata_route("/v2/models/{name}/versions/{version}", summary="Metadata of one version")
    async def model_version(name: str, version: str) -> dict[str, Any]:
        return model_metadata(catalog.find(name, address_of(version)), catalog.serving_versions(name), limits)


def _add_readiness(routes: APIRouter, catalog: Catalog) -> None:
    ready_route = functools.partial(routes.get, response_model=bodies_v2.ModelReady, responses=_ASK_ERRORS)

    @ready_route("/v2/models/{name}/ready", summary="A model has a version that serves")
    async def model_ready(name: str) -> dict[str, Any]:
        return {"name": catalog.find(name).manifest.name, "ready": True}

    @ready_route("/v2/models/{name}/versions/{version}/ready", summary="One version serves")
    async def version_ready(name: str, version: str) -> dict[str, Any]:
        return {"name": catalog.find(name, address_of(version)).manifest.name, "ready": True}


def _add_inference(routes: APIRouter, catalog: Catalog, inferrer: Inferrer) -> None:
    infer_route = functools.partial(
        routes.post,
        response_model=bodies_v2.InferAnswer,
        responses=_INFER_ERRORS,
        openapi_extra={"requestBody": _INFER_BODY, "parameters": [_INFER_HEADER]},
    )

    @infer_route("/v2/models/{name}/infer", summary="Infer with the newest version of a model")
    async def infer_model(name: str, request: Request) -> Response:
        return await _respond(request, functools.partial(catalog.find, name))

    @infer_route("/v2/models/{name}/versions/{version}/infer", summary="Infer with one version of a model")
    async def infer_version(name: str, version: str, request: Request) -> Response:
        return await _respond(request, functools.partial(catalog.find, name, address_of(version)))

    async def _respond(request: Request, find: Callable[[], Session]) -> Response:
        found = await inferrer.infer(exchange_of(request.scope), find)
        headers = {name.decode(): value.decode() for name, value in found.headers}
        return Response(found.body, found.status, headers)


def _add_index(routes: APIRouter, catalog: Catalog, limits: Limits) -> None:
    @routes.post(
        INDEX,
        response_model=list[bodies_v2.IndexEntry],
        responses=_problems(400, 401, 405, 408, 413, 415),
        openapi_extra={
            "requestBody": {
                "required": False,
                "content": {"application/json": {"schema": bodies.reference(bodies_v2.IndexRequest)}},
            }
        },
        summary="Every version that was found, and why one is refused",
    )
    async def repository_index(request: Request) -> list[dict[str, str]]:
        exchange = exchange_of(request.scope)
        check_headers(exchange.headers)
        body = await bodies_read.read(exchange.receive, exchange.headers, limit=_INDEX_BYTES)
        return index(catalog.everything(), ready=_only_ready(body, limits))


def _only_ready(body: bytes, limits: Limits) -> bool:
    """The body may be left out, as the stock clients do."""
    if not body:
        return False
    document = json.decode(body, max_depth=limits.max_json_depth)
    if not isinstance(document, dict):
        raise Problem("TYPE", "the body must be an object")
    if document.keys() - {"ready"}:
        raise Problem("UNKNOWN_FIELD", "known is ready")
    ready = document.get("ready", False)
    if not isinstance(ready, bool):
        raise Problem("TYPE", "ready must be true or false", pointer="/ready")
    return ready
