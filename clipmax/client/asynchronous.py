"""The asynchronous client: as the blocking one, with `await`, and several requests of a call at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx

from clipmax.client import connection, cutting, errors, frames, metadata, prediction
from clipmax.client.blocking import POLL_SECONDS
from clipmax.client.connection import READY_PATH
from clipmax.client.cutting import Body, Piece
from clipmax.client.errors import ClientError, Unreachable
from clipmax.client.inference import Inference, joined
from clipmax.client.metadata import ModelMetadata, ServerMetadata
from clipmax.client.predictions import Predictions
from clipmax.client.question import Question
from clipmax.client.retry import Attempts, Retry
from clipmax.client.rows import Data

if TYPE_CHECKING:
    from clipmax.conformal import Method  # which brings pydantic, and a client needs none

T = TypeVar("T")


class AsyncClient:
    """Asynchronous client: `Client` with `await`; arguments, answers and errors are the same.

    Args:
        url: as of `Client`, and so are `api_key`, `timeout_seconds` and `retry`.
        concurrency: most requests that are under way at a time, of all calls together.
        transport: another way to the service than the network.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        retry: Retry | None = None,
        concurrency: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"a concurrency of at least 1 is needed, got {concurrency}")
        self._url = url
        self._retry = retry or Retry()
        self._http = httpx.AsyncClient(**connection.options(url, api_key, timeout_seconds), transport=transport)
        self._server: ServerMetadata | None = None
        self._concurrency = concurrency
        self._places = asyncio.Semaphore(concurrency)

    async def predict(
        self,
        instances: Data,
        *,
        top_k: int | None = None,
        probabilities: bool = False,
        logits: bool = False,
        coverage: float | None = None,
        coverage_method: Method | None = None,
        abstain: bool = False,
        novelty: bool = False,
        candidates: Sequence[str] | None = None,
        exclude_seen: bool = False,
        model: str | None = None,
        version: int | str | None = None,
    ) -> Predictions:
        """See `Client.predict`."""
        path = connection.predict_path(model, version)
        question = Question(
            instances,
            top_k=top_k,
            probabilities=probabilities,
            logits=logits,
            coverage=coverage,
            coverage_method=coverage_method,
            abstain=abstain,
            novelty=novelty,
            candidates=candidates,
            exclude_seen=exclude_seen,
        )

        async def ask(piece: Piece) -> list[prediction.Prediction]:
            return prediction.read(await self._post(path, piece), rows=piece.rows)

        whole = cutting.small(len(question), question.encode)
        if whole is not None:
            return Predictions(await ask(whole))
        limits = (await self._server_metadata()).limits
        parts = await self._each(cutting.pieces(len(question), limits, question.encode), ask)
        return Predictions(one for part in parts for one in part)

    async def infer(
        self, inputs: Any, *, logits: bool = False, model: str | None = None, version: int | str | None = None
    ) -> Inference:
        """See `Client.infer`."""
        found = await self.metadata(model, version)
        columns = frames.Columns(inputs, found, logits=logits)
        path = f"{connection.model_path(found.name, found.version)}/infer"

        async def ask(piece: Piece) -> Inference:
            return frames.read(await self._post(path, piece), found, rows=piece.rows)

        return joined(await self._each(cutting.pieces(len(columns), found.limits, columns.encode), ask))

    async def metadata(self, model: str | None = None, version: int | str | None = None) -> ModelMetadata:
        """See `Client.metadata`."""
        connection.check_version(model, version)
        name = metadata.named(model or (await self._server_metadata()).default_model)
        return metadata.read_model(await self._exchange("GET", connection.model_path(name, version)))

    async def is_ready(self) -> bool:
        """See `Client.is_ready`."""
        try:
            return (await self._http.get(READY_PATH)).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    async def wait_until_ready(self, timeout_seconds: float = 30.0) -> None:
        """See `Client.wait_until_ready`."""
        deadline = time.monotonic() + timeout_seconds
        while not await self.is_ready():
            if time.monotonic() >= deadline:
                raise Unreachable(f"{self._url}: not ready within {timeout_seconds:g} s")
            await asyncio.sleep(POLL_SECONDS)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _each(self, pieces: Iterable[Piece], ask: Callable[[Piece], Awaitable[T]]) -> list[T]:
        """The answers to all pieces, in their order; a piece is made when its turn comes, so few are in memory."""
        waiting = enumerate(pieces)
        found: dict[int, T] = {}

        async def work() -> None:
            for place, piece in waiting:
                found[place] = await ask(piece)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._concurrency):
                    group.create_task(work())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None  # one error of one call, as from the blocking client
        return [found[place] for place in sorted(found)]

    async def _server_metadata(self) -> ServerMetadata:
        if self._server is None:
            self._server = metadata.read_server(await self._exchange("GET", connection.SERVER_PATH))
        return self._server

    async def _post(self, path: str, piece: Piece) -> httpx.Response:
        return await self._exchange("POST", path, piece.body, first_row=piece.first_row)

    async def _exchange(
        self, method: str, path: str, body: Body | None = None, *, first_row: int = 0
    ) -> httpx.Response:
        """The answer that is 200, after as many attempts as it takes and `retry` allows."""
        attempts = Attempts(self._retry)
        async with self._places:
            while True:  # ends by `pause_after` at the latest
                try:
                    response = await self._send(method, path, body)
                    if response.status_code == httpx.codes.OK:
                        return response
                    raise errors.server_error(response, first_row=first_row)
                except ClientError as error:
                    await asyncio.sleep(attempts.pause_after(error))

    async def _send(self, method: str, path: str, body: Body | None) -> httpx.Response:
        try:
            if body is None:
                return await self._http.request(method, path)
            return await self._http.request(method, path, content=body.content, headers=body.headers)
        except httpx.TransportError as error:
            raise errors.unreachable(self._url, error) from error
