"""Many clients at once, good and bad ones, on a real socket: everybody gets the own answer, in time or not at all."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from clipmax.manifest import MODEL_FILE
from tests import artifacts
from tests.service.running import Running, exchange, post, read_answer, serving
from tests.service.test_contract_errors import check

REQUESTS, CLIENTS, ROWS = 2000, 16, 40
JSON = "Content-Type: application/json"
BAD = (
    (b'{"instances": [[1, 2]]}', "INPUT_SHAPE"),
    (b'{"instances": [[' + b"1e39, " * 15 + b"0]]}", "NUMBER_RANGE"),
    (b'{"instances": [[' + b"0, " * 15 + b"true]]}", "TYPE"),
    (b'{"instances": [[', "JSON_INVALID"),
)


@pytest.fixture(scope="module")
def expected(models: Path) -> tuple[list[list[float]], list[dict[str, Any]]]:
    """Rows, and what each gives when it is alone: label and probability."""
    rows = artifacts.rows(ROWS, seed=7)
    content = (models / "tiny" / "2" / MODEL_FILE).read_bytes()
    alone = [artifacts.run(content, [row])[1][0] for row in rows]
    return rows, [{"label": f"label {one.argmax()}", "probability": one.max()} for one in alone]


def test_every_answer_of_a_crowd_equals_the_row_s_own(
    service: Running, expected: tuple[list[list[float]], list[dict[str, Any]]]
) -> None:
    """Batched with strangers, some of them bad, each row gets what it gets alone, bit for bit, under its own id."""
    rows, alone = expected
    counts = {"good": 0, "bad": 0}

    async def client(http: httpx.AsyncClient, chance: random.Random) -> None:
        for number in range(REQUESTS // CLIENTS):
            request_id = f"{id(chance)}-{number}"
            headers = {"content-type": "application/json", "x-request-id": request_id}
            if chance.random() < 0.1:
                body, code = chance.choice(BAD)
                answer = await http.post("/predict", content=body, headers=headers)
                assert answer.json()["code"] == code
                counts["bad"] += 1
                continue
            chosen = [chance.randrange(ROWS) for _ in range(chance.choice([1, 1, 1, 2, 5, 40]))]
            options = {"top_k": chance.randint(1, 3), "logits": chance.random() < 0.1} if chance.random() < 0.3 else {}
            body = json.dumps({"instances": [rows[one] for one in chosen], "parameters": options}).encode()
            answer = await http.post("/predict", content=body, headers=headers)
            assert answer.json()["request_id"] == request_id
            for one, prediction in zip(chosen, answer.json()["predictions"], strict=True):
                assert prediction["label"] == alone[one]["label"]
                assert type(alone[one]["probability"])(prediction["probability"]) == alone[one]["probability"]
                assert len(prediction["top"]) == options.get("top_k", 3)
                assert ("logits" in prediction) is bool(options.get("logits"))
            counts["good"] += 1

    async def crowd() -> None:
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
            await asyncio.gather(*(client(http, random.Random(seed)) for seed in range(CLIENTS)))  # noqa: S311

    asyncio.run(crowd())
    assert sum(counts.values()) == REQUESTS
    assert counts["bad"] > REQUESTS // 20


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "", "x", "1e3", "9" * 12])
def test_a_deadline_that_is_no_number_of_milliseconds_is_refused(service: Running, given: str) -> None:
    """Before anything is read."""
    body = json.dumps({"instances": artifacts.rows(1)}).encode()
    check(exchange(service, post("/predict", body, JSON, f"X-Deadline-Ms: {given}")), "PARAMETER")


def test_a_deadline_that_is_kept_changes_nothing(service: Running) -> None:
    """A minute is enough for one row."""
    body = json.dumps({"instances": artifacts.rows(1)}).encode()
    assert exchange(service, post("/predict", body, JSON, "X-Deadline-Ms: 60000")).status == 200


@pytest.fixture(scope="module")
def narrow(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service whose queue takes eight rows, and whose every client has room for six."""
    bounds = ("--max-queue-rows", "8", "--max-client-rows", "6", "--max-queue-bytes", "300000")
    with serving(models, tmp_path_factory.mktemp("narrow"), *bounds) as running:
        yield running


def long_body(rows: int) -> bytes:
    """A body that the reading thread reads, with a row that only the exact reader takes."""
    return json.dumps({"instances": [{"image": row} for row in artifacts.rows(rows)]}).encode()


def test_what_does_not_fit_into_the_queue_is_told_when_to_come_again(narrow: Running) -> None:
    """429 with Retry-After at once, and all that was taken is answered."""
    one = json.dumps({"instances": artifacts.rows(5)}).encode()
    codes = _statuses(narrow, one, askers=8, each=60)
    assert len(codes) == 480
    assert set(codes) <= {(200, None), (429, "1")}
    assert (200, None) in codes


def test_bytes_of_bodies_are_bounded_together(narrow: Running) -> None:
    """A body whose beginning fills the bound turns others away, until its sender has gone."""
    head = post("/predict", b"", JSON, length=290_000)
    good = post("/predict", json.dumps({"instances": artifacts.rows(1)}).encode() + b" " * 20_000)
    with narrow.connect() as slow:
        slow.sendall(head + b" " * 289_999)
        time.sleep(0.3)  # until it has been read: whoever came in between would turn the slow one away instead
        answer = exchange(narrow, good)
        check(answer, "QUEUE_FULL")
        assert answer.headers["retry-after"] == "1"
        slow.sendall(b" ")
        check(read_answer(slow), "JSON_INVALID")
    assert _first(narrow, good, status=200).status == 200


def test_padding_counts_as_bytes_that_wait(tmp_path: Path) -> None:
    """One long text among short ones makes a small body hold much memory."""
    schema = [{**artifacts.TEXT[0], "max_length": 4000}]
    artifacts.publish_made(tmp_path, "text", artifacts.text_model, schema=schema, instances=artifacts.TEXT_ROWS)
    body = json.dumps({"instances": ["a" * 4000, *"b" * 199]}).encode()
    with serving(tmp_path, tmp_path, "--max-queue-bytes", "1000000") as running:
        found = _statuses(running, body, askers=4, each=20)
    assert set(found) == {(200, None), (429, "1")}


def test_a_request_that_is_larger_than_the_queue_is_taken_when_nobody_waits(narrow: Running) -> None:
    """Otherwise it could never be answered."""
    assert exchange(narrow, post("/predict", json.dumps({"instances": artifacts.rows(50)}).encode())).status == 200
    assert exchange(narrow, post("/predict", long_body(500))).status == 200


def _statuses(running: Running, body: bytes, *, askers: int, each: int) -> list[tuple[int, str | None]]:
    """Status and Retry-After of all answers when so many ask at a time."""
    found: list[tuple[int, str | None]] = []

    def ask() -> None:
        with httpx.Client(base_url=running.url, timeout=60) as http:
            for _ in range(each):
                answer = http.post("/predict", content=body, headers={"content-type": "application/json"})
                found.append((answer.status_code, answer.headers.get("retry-after")))

    threads = [threading.Thread(target=ask) for _ in range(askers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def _first(running: Running, request: bytes, *, status: int) -> Any:
    """The answer, asked for until it has this status, because what was sent to another socket takes its time."""
    for _ in range(100):
        answer = exchange(running, request)
        if answer.status == status:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"no answer with {status}")
