"""The V1 predict protocol of TensorFlow Serving, KServe and Vertex AI."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from clipmax import inputs
from clipmax.problems import Problem
from clipmax.refusal import Refusal
from service import answer
from service.engine import aliases
from service.engine.catalog import Catalog, State, Version
from service.engine.queue import Tensors
from service.engine.session import Session
from service.engine.worker import INLINE_BYTES
from service.exchange import Exchange, exchange_of
from service.inference import Inference
from service.narrowed import narrowed
from service.narrowing import Flags
from service.reading import body as bodies_read
from service.reading import fast, pieces, v1
from service.routes import bodies

_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_PREDICT_ERRORS = bodies.problem_responses(400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 504)
_REQUEST_BODY = {"required": True, "content": {"application/json": {"schema": bodies.reference(bodies.Question)}}}

# TensorFlow Serving's words for our states.
_STATES = {
    State.LOADING: "LOADING",
    State.SERVING: "AVAILABLE",
    State.DRAINING: "UNLOADING",
    State.REFUSED: "END",
}


Question = tuple[Tensors, answer.Options]
"""What one request asks: its rows as the graph takes them, and what to answer of each."""


class Predictor:
    """A predict request in, the bytes of its answer out."""

    def __init__(self, catalog: Catalog, inference: Inference) -> None:
        self._catalog = catalog
        self._inference = inference
        self._fast = fast.Reader(inference.limits)

    async def predict(self, exchange: Exchange, find: Callable[[], Session]) -> bytes:
        """The answer of the session that `find` gives, looked up before the body is read.

        Raises:
            Problem: whatever is wrong with the request.
            ClientGone: nobody waits for the answer any more.
        """
        session = exchange.session = find()
        bodies_read.check_json_headers(exchange.headers)
        coming = self._inference.body(exchange)
        body = coming if isinstance(coming, bytes) else await coming
        tensors, options = self._read_usual(session, body) or await self._read(session, body)
        del body
        kept = None if options is answer.DEFAULT else self._check(session, options, tensors)
        waiting = self._inference.submit(session, tensors, exchange)
        del tensors  # held here until the answer, it would make every other request take fresh memory
        share = waiting if isinstance(waiting, answer.Share) else await waiting
        if kept is not None:
            share = narrowed(share, kept)
        return answer.encode(share, options, exchange.request_id)

    def _check(self, session: Session, options: answer.Options, tensors: Tensors) -> Flags | None:
        """Whether the version can say all that; where labels are left out, which ones stay."""
        rows = len(next(iter(tensors.values())))
        most_values = self._inference.limits.max_answer_values
        words = self._inference.words(session)
        words.check(options, rows=rows, most_values=most_values)
        if not options.narrows:
            return None
        return words.narrowing.kept(options.candidates, tensors, exclude_seen=options.exclude_seen)

    def _read_usual(self, session: Session, body: bytes) -> Question | None:
        """What the fast reader makes of a body here: it holds Python's lock, so long ones are for the thread."""
        schema = session.manifest.inputs
        if len(schema) != 1 or schema[0].kind != "image" or len(body) > fast.KEPT_BYTES:
            return None
        return usual(self._fast, schema[0], body)

    async def _read(self, session: Session, body: bytes) -> Question:
        work = functools.partial(read, session, body, self._inference.limits)
        return await self._inference.read(work, body_bytes=len(body))

    def targets(self) -> dict[str, Callable[[], Session]]:
        """Every predict path there is at present → where its session is found."""
        found: dict[str, Callable[[], Session]] = {"/predict": self._catalog.find_default}
        for name in self._catalog.served_names():
            found[f"/v1/models/{name}:predict"] = functools.partial(self._catalog.find, name)
            for version in self._catalog.addresses(name):
                find = functools.partial(self._catalog.find, name, version)
                found[f"/v1/models/{name}/versions/{version}:predict"] = find
        return found


def read(session: Session, body: bytes, limits: v1.Limits) -> Question:
    """Body → tensors and options, exactly; of long bodies first what can be told quickly.

    Raises:
        Problem: whatever is wrong with the body.
    """
    schema = session.manifest.inputs
    if len(schema) == 1 and schema[0].kind == "image" and len(body) > INLINE_BYTES:
        found = _read_long(schema[0], body, limits)
        if found is not None:
            return found
    question = v1.read(body, limits)
    return inputs.tensors(schema, question.instances), question.options


def _read_long(schema: inputs.ImageInput, body: bytes, limits: v1.Limits) -> Question | None:
    is_long = len(body) > fast.KEPT_BYTES  # a shorter one is here because the fast reader did not take it
    found = pieces.read(body, schema, limits) if is_long else fast.refusal(body, schema, limits)
    if isinstance(found, Problem):
        raise found
    return None if found is None else ({schema.name: found.tensor}, found.options)


def usual(reader: fast.Reader, schema: inputs.ImageInput, body: bytes) -> Question | None:
    """What the fast reader makes of a body."""
    rows = reader.read(body, schema)
    return None if rows is None else ({schema.name: rows.tensor}, rows.options)


def router(catalog: Catalog, predictor: Predictor) -> APIRouter:
    """The path operations. The predict paths of models that serve are answered before routing (see `app`);
    here they are described, and answered for names that are not known.
    """
    routes = APIRouter(tags=["V1"])
    predict_route = functools.partial(
        routes.post,
        response_model=bodies.Answer,
        response_model_exclude_none=True,
        responses=_PREDICT_ERRORS,
        openapi_extra={"requestBody": _REQUEST_BODY},
    )

    @predict_route("/predict", summary="Predict with the default model")
    async def predict_default(request: Request) -> Response:
        return await _respond(request, catalog.find_default)

    @predict_route("/v1/models/{name}:predict", summary="Predict with the newest version of a model")
    async def predict_model(name: str, request: Request) -> Response:
        return await _respond(request, functools.partial(catalog.find, name))

    @predict_route("/v1/models/{name}/versions/{version}:predict", summary="Predict with one version of a model")
    async def predict_version(name: str, version: str, request: Request) -> Response:
        return await _respond(request, functools.partial(catalog.find, name, address_of(version)))

    @routes.get(
        "/v1/models/{name}",
        response_model=bodies.ModelStatus,
        responses=bodies.problem_responses(401, 404, 405),
        summary="States of a model's versions",
    )
    async def model_status(name: str) -> dict[str, Any]:
        if name.endswith(":predict"):  # "{name}" takes the colon too
            raise Problem("METHOD_NOT_ALLOWED", "predict with POST", headers={"Allow": "OPTIONS, POST"})
        return status(name, catalog.versions(name), catalog.aliases(name))

    async def _respond(request: Request, find: Callable[[], Session]) -> Response:
        content = await predictor.predict(exchange_of(request.scope), find)
        return Response(content, media_type="application/json")

    return routes


def status(name: str, versions: tuple[Version, ...], named: Mapping[str, int]) -> dict[str, Any]:
    """A model's versions, newest first, in TensorFlow Serving's form with our reason beside it."""
    return {
        "name": name,
        "ready": any(version.state is State.SERVING for version in versions),
        "model_version_status": [_version_status(version) for version in reversed(versions)],
        "aliases": {alias: str(number) for alias, number in named.items()},
    }


def _version_status(version: Version) -> dict[str, Any]:
    reason = version.reason
    code, message = ("OK", "") if reason is None else ("FAILED_PRECONDITION", f"{reason.field} is not as expected")
    found: dict[str, Any] = {
        "version": str(version.number),
        "state": _STATES[version.state],
        "status": {"error_code": code, "error_message": message},
    }
    return found if reason is None else found | {"reason": reason_of(reason)}


def reason_of(reason: Refusal) -> dict[str, str]:
    """The four parts of a refusal, the path cut to its last name."""
    file = Path(reason.where).name
    return {"file": file, "field": reason.field, "expected": reason.expected, "found": reason.found}


def address_of(text: str) -> int | str:
    """The version in a path: its number or an alias. Raises Problem MODEL_NOT_FOUND."""
    if _VERSION.fullmatch(text) is not None:
        return int(text)
    if aliases.PATTERN.fullmatch(text) is not None:
        return text
    raise Problem("MODEL_NOT_FOUND", "no version of this number or alias is served")
