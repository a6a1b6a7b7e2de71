"""Both clients through a real socket: what is sent, what comes back, what is tried again, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

import httpx
import numpy as np
import numpy.typing as npt
import pytest

from clipmax.client import (
    AnswerInvalid,
    AsyncClient,
    Client,
    Instances,
    Prediction,
    Retry,
    ServerError,
    TopLabel,
    Unreachable,
)
from clipmax.problems import CATALOGUE, Kind
from tests.clipmax.scripted import Reply, answer, problem, serving

ROW: Instances = [[0, 1], [2, 3]]
QUICK = Retry(attempts=4, total_seconds=5.0)

Ask = Callable[..., list[Prediction]]


def ask_blocking(url: str, instances: Instances = ROW, *, options: Any = None, **parameters: Any) -> list[Prediction]:
    with Client(url, **{"retry": QUICK, **(options or {})}) as client:
        return client.predict(instances, **parameters)


def ask_async(url: str, instances: Instances = ROW, *, options: Any = None, **parameters: Any) -> list[Prediction]:
    async def call() -> list[Prediction]:
        async with AsyncClient(url, **{"retry": QUICK, **(options or {})}) as client:
            return await client.predict(instances, **parameters)

    return asyncio.run(call())


@pytest.fixture(params=[ask_blocking, ask_async], ids=["Client", "AsyncClient"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """One call of `predict` with either client."""
    return cast("Ask", request.param)


def test_predictions_are_typed_and_in_the_order_of_the_rows(ask: Ask) -> None:
    """Each says which model, version and provider gave it."""
    with serving(answer("seven", "one")) as server:
        first, second = ask(server.url)
    assert first == Prediction(
        label="seven",
        probability=0.75,
        top=(TopLabel("seven", 0.75),),
        probabilities=None,
        logits=None,
        out_of_range=False,
        model="digits",
        version=2,
        provider="cpu",
        request_id="request-1",
    )
    assert second.label == "one"


@pytest.mark.parametrize(
    ("arguments", "path", "parameters"),
    [
        ({}, "/predict", None),
        ({"model": "digits"}, "/v1/models/digits:predict", None),
        ({"model": "digits", "version": 3}, "/v1/models/digits/versions/3:predict", None),
        ({"model": "../x y"}, "/v1/models/..%2Fx%20y:predict", None),
        ({"top_k": 5}, "/predict", {"top_k": 5}),
        ({"top_k": 0}, "/predict", {"top_k": 0}),
        ({"probabilities": True, "logits": True}, "/predict", {"probabilities": True, "logits": True}),
    ],
)
def test_only_what_was_asked_for_is_sent(
    ask: Ask, arguments: dict[str, Any], path: str, parameters: dict[str, Any] | None
) -> None:
    """The service's defaults are the service's; its refusals too."""
    with serving(answer("seven")) as server:
        ask(server.url, **arguments)
    (request,) = server.requests
    assert request.path == path
    assert request.body == {"instances": ROW} | ({} if parameters is None else {"parameters": parameters})
    assert request.headers["Content-Type"] == "application/json"
    assert "Authorization" not in request.headers


def test_a_path_prefix_and_a_key_are_sent(ask: Ask) -> None:
    """Behind a gateway, say."""
    with serving(answer("seven")) as server:
        ask(f"{server.url}/models/", options={"api_key": "secret"})
    (request,) = server.requests
    assert request.path == "/models/predict"
    assert request.headers["Authorization"] == "Bearer secret"


METADATA = Reply(
    200, b'{"parameters": {"default_model": "digits", "limits": {"max_batch_rows": 3, "max_body_bytes": 1000}}}'
)


def test_many_rows_are_cut_to_what_the_service_states(ask: Ask) -> None:
    """In rows and bytes; the predictions come together in the order of the rows."""
    rows = [[float(row)] for row in range(65)]
    with serving(METADATA, answer("seven")) as server:
        assert len(ask(server.url, rows)) == 65
    first, *others = server.requests
    assert first.path == "/v2"
    found = [request.body["instances"] for request in others]
    assert max(map(len, found)) == 3
    assert sorted(row for part in found for row in part) == rows


def test_an_error_names_the_row_of_the_whole_call() -> None:
    """The pointer is that of the request; the row is the caller's own number."""
    with serving(METADATA, answer("seven"), problem("TYPE")) as server, pytest.raises(ServerError) as caught:
        ask_blocking(server.url, [[0.0]] * 65)
    assert (caught.value.pointer, caught.value.row) == ("/instances/3", 3 + 3)
    assert "in the request that begins with row 3" in str(caught.value)


def test_requests_under_way_are_bounded_and_keep_their_order() -> None:
    """Of all calls of an asynchronous client together."""

    async def call(url: str) -> list[list[str]]:
        async with AsyncClient(url, concurrency=2) as client:
            found = await asyncio.gather(*(client.predict([[row]]) for row in range(9)))
            return [[one.label for one in part] for part in found]

    with serving(answer("seven")) as server:
        assert asyncio.run(call(server.url)) == [["seven"]] * 9
    assert server.most_at_once <= 2


def test_a_concurrency_of_none_is_refused() -> None:
    """Nothing would ever be sent."""
    with pytest.raises(ValueError, match="at least 1"):
        AsyncClient(concurrency=0)


PIXELS = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)


@pytest.mark.parametrize(
    "array",
    [
        PIXELS,
        PIXELS.astype(">f4"),
        PIXELS.astype(np.float64),
        np.asfortranarray(PIXELS),
        np.repeat(PIXELS, 2, axis=2)[:, :, ::2],
        PIXELS.astype(np.int64),
    ],
    ids=["bytes", "big-endian", "float64", "Fortran order", "strided", "int64"],
)
def test_an_array_travels_as_nested_lists(ask: Ask, array: npt.NDArray[Any]) -> None:
    """However it lies in memory."""
    with serving(answer("seven")) as server:
        ask(server.url, array)
    assert server.requests[0].body == {"instances": PIXELS.tolist()}


def test_float32_arrives_as_the_same_float32(ask: Ask) -> None:
    """The shortest text that reads back exactly."""
    values = np.random.default_rng(0).normal(size=(1, 100)).astype(np.float32)
    with serving(answer("seven")) as server:
        ask(server.url, values)
    np.testing.assert_array_equal(np.array(server.requests[0].body["instances"], dtype=np.float32), values)


def test_infinity_is_refused_before_it_is_sent(ask: Ask) -> None:
    """JSON would turn it into null without a word."""
    with serving(answer("seven")) as server, pytest.raises(ValueError, match="infinite"):
        ask(server.url, np.array([[np.inf]]))
    assert server.requests == []


def test_a_version_needs_a_model(ask: Ask) -> None:
    """The default model has no version path."""
    with pytest.raises(ValueError, match="name of its model"):
        ask("http://127.0.0.1:1", version=2)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", ""])
def test_a_url_that_is_none_is_refused(ask: Ask, url: str) -> None:
    """At once, with an example of one."""
    with pytest.raises(ValueError, match="expected a URL such as"):
        ask(url)


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=list(CATALOGUE))
def test_every_error_of_the_catalogue_arrives_typed(ask: Ask, kind: Kind) -> None:
    """With all that its document says."""
    with serving(problem(kind.code)) as server, pytest.raises(ServerError, match=kind.code) as caught:
        ask(server.url, options={"retry": Retry(attempts=1)})
    error = caught.value
    assert (error.code, error.status, error.detail) == (kind.code, kind.status, "what was expected")
    assert (error.pointer, error.request_id, error.retryable) == ("/instances/3", "request-1", kind.retryable)


@pytest.mark.parametrize(
    "first",
    [
        problem("QUEUE_FULL", retry_after="0"),
        problem("NOT_READY", retry_after=format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)),
        problem("DRAINING"),
        problem("TIMEOUT_READ"),
        Reply(503, b"<html>a proxy's own words</html>", {"Retry-After": "soon"}),
        "break off",
    ],
    ids=["429", "503 with a date", "503 without Retry-After", "408", "a proxy's 503", "a broken connection"],
)
def test_what_may_pass_is_tried_again(ask: Ask, first: Any) -> None:
    """And the caller sees only the answer."""
    with serving(first, first, answer("seven")) as server:
        prediction, _ = ask(server.url)
    assert prediction.label == "seven"
    assert len(server.requests) == 3


@pytest.mark.parametrize("code", ["INPUT_SHAPE", "MODEL_NOT_FOUND", "AUTH", "INTERNAL"])
def test_what_stays_wrong_is_not_tried_again(ask: Ask, code: str) -> None:
    """One request, one error."""
    with serving(problem(code), answer("seven")) as server, pytest.raises(ServerError):
        ask(server.url)
    assert len(server.requests) == 1


def test_attempts_are_bounded(ask: Ask) -> None:
    """The last error is raised."""
    with serving(problem("QUEUE_FULL", retry_after="0")) as server, pytest.raises(ServerError, match="QUEUE_FULL"):
        ask(server.url)
    assert len(server.requests) == QUICK.attempts


def test_a_pause_beyond_the_total_time_is_not_begun(ask: Ask) -> None:
    """An hour's `Retry-After` ends the call now."""
    with serving(problem("NOT_READY", retry_after="3600")) as server, pytest.raises(ServerError) as caught:
        ask(server.url)
    assert len(server.requests) == 1
    assert caught.value.retry_after_seconds == 3600


def test_retry_after_is_waited_for(ask: Ask) -> None:
    """In seconds, as it says."""
    with serving(problem("QUEUE_FULL", retry_after="1"), answer("seven")) as server:
        before = time.monotonic()
        ask(server.url)
    assert time.monotonic() - before >= 1


def test_a_service_that_is_not_there_is_unreachable(ask: Ask) -> None:
    """After the bounded attempts, with its URL."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Unreachable, match=url):
            ask(url, options={"retry": Retry(attempts=2)})


def test_silence_ends_at_the_time_out_and_is_not_repeated(ask: Ask) -> None:
    """The service may still be at work on the first request."""
    with serving("silence") as server, pytest.raises(Unreachable, match="no answer in time"):
        ask(server.url, options={"timeout_seconds": 0.2})
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"{}", b'{"predictions": [{}]}', b'{"predictions": 1}'])
def test_another_server_is_told_from_ours(ask: Ask, body: bytes) -> None:
    """A 200 that is no prediction answer is an error of its own."""
    with serving(Reply(200, body)) as server, pytest.raises(AnswerInvalid, match="does not answer as a clipmax"):
        ask(server.url)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null"])
def test_an_error_without_document_keeps_its_status(ask: Ask, body: bytes) -> None:
    """From a proxy, say."""
    with serving(Reply(502, body)) as server, pytest.raises(ServerError, match="HTTP_502") as caught:
        ask(server.url)
    assert (caught.value.status, caught.value.retryable) == (502, False)


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not reach this machine's loopback."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(answer("seven")) as server:
        assert ask(server.url)[0].label == "seven"


def test_one_client_serves_many_threads() -> None:
    """Each gets its own answer."""
    with serving(answer("seven")) as server, Client(server.url) as client, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: client.predict(ROW)[0].label, range(32)))
    assert found == ["seven"] * 32


def test_an_answer_to_other_rows_is_told_from_ours(ask: Ask) -> None:
    """Each row has its prediction, or there is none."""
    reply = Reply(200, b'{"predictions": [], "model": "digits", "version": 2, "provider": "cpu", "request_id": "a"}')
    with serving(reply) as server, pytest.raises(AnswerInvalid):
        ask(server.url)


def ready_blocking(url: str, timeout_seconds: float) -> bool:
    with Client(url) as client:
        client.wait_until_ready(timeout_seconds)
        return client.is_ready()


def ready_async(url: str, timeout_seconds: float) -> bool:
    async def call() -> bool:
        async with AsyncClient(url) as client:
            await client.wait_until_ready(timeout_seconds)
            return await client.is_ready()

    return asyncio.run(call())


Ready = Callable[[str, float], bool]
READY = pytest.mark.parametrize("ready", [ready_blocking, ready_async], ids=["Client", "AsyncClient"])


@READY
def test_readiness_is_waited_for(ready: Ready) -> None:
    """Through refused connections and 503."""
    with serving("break off", problem("NOT_READY"), Reply(200, b"{}")) as server:
        assert ready(server.url, 10)
    assert {request.path for request in server.requests} == {"/v2/health/ready"}
    assert len(server.requests) == 4


@READY
def test_waiting_for_readiness_ends(ready: Ready) -> None:
    """With an error that says for how long it was waited."""
    with serving(problem("NOT_READY")) as server, pytest.raises(Unreachable, match=r"not ready within 0\.2 s"):
        ready(server.url, 0.2)


def test_the_two_clients_offer_the_same() -> None:
    """But for the names that Python gives to closing."""
    names = ({name for name in vars(client) if not name.startswith("_")} for client in (Client, AsyncClient))
    assert [sorted(found - {"close", "aclose"}) for found in names] == [
        ["infer", "is_ready", "metadata", "predict", "wait_until_ready"]
    ] * 2


def test_time_outs_are_set_in_every_direction() -> None:
    """A None would wait for ever."""
    with Client("http://127.0.0.1:1", timeout_seconds=7) as client:
        assert client._http.timeout == httpx.Timeout(7, connect=5)
