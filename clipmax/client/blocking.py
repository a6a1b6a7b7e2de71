"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from clipmax.client import connection, cutting, errors, frames, metadata, prediction
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

POLL_SECONDS = 0.1


class Client:
    """Blocking client; one may be shared by threads.

    Args:
        url: where the service listens, with or without a path prefix.
        api_key: sent as `Authorization: Bearer …`.
        timeout_seconds: longest silence of the service within one attempt.
        retry: when to try again.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        retry: Retry | None = None,
    ) -> None:
        self._url = url
        self._retry = retry or Retry()
        self._http = httpx.Client(**connection.options(url, api_key, timeout_seconds))
        self._server: ServerMetadata | None = None

    def predict(
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
        """Predictions for the rows, in their order; many rows are sent in requests that the service's limits allow.

        Args:
            instances: an array with rows along the first axis, a list of rows, a series or a data frame. A row is
                what the model takes: a text, an object of columns, nested numbers, an image as array, `Path`, bytes
                or PIL image. NaN in an array or a frame travels as null.
            top_k: how many of the likeliest labels to give; the service's choice if None.
            probabilities: give every label's probability.
            logits: give every label's logit, before temperature.
            coverage: give the labels among which the true one is in such a share of rows; 0 < coverage < 1.
            coverage_method: which scores; the service's choice, adaptive, if None.
            abstain: say of each row whether the model had better not decide.
            novelty: say how unlike the training data each row is.
            candidates: answer with these labels only.
            exclude_seen: answer without the items of the row's history.
            model: the service's default model if None.
            version: its number or an alias; the newest if None; needs `model`.

        Raises:
            ValueError: a version without a model, or an infinite number in an array or a frame.
            TypeError: a value that is no JSON value, array or image; one row or candidate where a list is needed.
            ClientError: see `clipmax.client.errors`; `ServerError.row` is the number of the row at fault.
        """
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
        whole = cutting.small(len(question), question.encode)
        pieces = [whole] if whole else cutting.pieces(len(question), self._server_metadata().limits, question.encode)
        found = Predictions()
        for piece in pieces:
            found += prediction.read(self._post(path, piece), rows=piece.rows)
        return found

    def infer(
        self, inputs: Any, *, logits: bool = False, model: str | None = None, version: int | str | None = None
    ) -> Inference:
        """Arrays in and out, as raw tensors of the Open Inference Protocol: for many rows of numbers.

        The model's metadata is asked for first; all rows are answered by the version that it names.

        Args:
            inputs: columns by input name, as arrays or lists; a data frame; or the one array of a model with one input.
            logits: give the logits too.
            model: the service's default model if None.
            version: its number or an alias; the newest if None; needs `model`.

        Raises:
            ValueError: a version without a model, several inputs without names, or columns of different lengths.
            TypeError: a column that raw tensors do not carry, such as words of which some are missing.
            ClientError: see `clipmax.client.errors`.
        """
        found = self.metadata(model, version)
        columns = frames.Columns(inputs, found, logits=logits)
        path = f"{connection.model_path(found.name, found.version)}/infer"
        pieces = cutting.pieces(len(columns), found.limits, columns.encode)
        return joined([frames.read(self._post(path, piece), found, rows=piece.rows) for piece in pieces])

    def metadata(self, model: str | None = None, version: int | str | None = None) -> ModelMetadata:
        """Labels, inputs and limits of a version.

        Raises:
            ValueError: a version without a model.
            ClientError: see `clipmax.client.errors`; also where no model is named and the service has no default one.
        """
        connection.check_version(model, version)
        name = metadata.named(model or self._server_metadata().default_model)
        return metadata.read_model(self._exchange("GET", connection.model_path(name, version)))

    def is_ready(self) -> bool:
        """Whether the service answers and has a model ready."""
        try:
            return self._http.get(READY_PATH).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def wait_until_ready(self, timeout_seconds: float = 30.0) -> None:
        """Return as soon as the service is ready.

        Raises:
            Unreachable: it was not within `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            if time.monotonic() >= deadline:
                raise Unreachable(f"{self._url}: not ready within {timeout_seconds:g} s")
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _server_metadata(self) -> ServerMetadata:
        if self._server is None:
            self._server = metadata.read_server(self._exchange("GET", connection.SERVER_PATH))
        return self._server

    def _post(self, path: str, piece: Piece) -> httpx.Response:
        return self._exchange("POST", path, piece.body, first_row=piece.first_row)

    def _exchange(self, method: str, path: str, body: Body | None = None, *, first_row: int = 0) -> httpx.Response:
        """The answer that is 200, after as many attempts as it takes and `retry` allows."""
        attempts = Attempts(self._retry)
        while True:  # ends by `pause_after` at the latest
            try:
                response = self._send(method, path, body)
                if response.status_code == httpx.codes.OK:
                    return response
                raise errors.server_error(response, first_row=first_row)
            except ClientError as error:
                time.sleep(attempts.pause_after(error))

    def _send(self, method: str, path: str, body: Body | None) -> httpx.Response:
        try:
            if body is None:
                return self._http.request(method, path)
            return self._http.request(method, path, content=body.content, headers=body.headers)
        except httpx.TransportError as error:
            raise errors.unreachable(self._url, error) from error
