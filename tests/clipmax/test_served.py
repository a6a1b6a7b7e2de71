"""Clients against the real service: the numbers of onnxruntime arrive exactly, and errors arrive typed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clipmax import AsyncClient, Client, Prediction, cli
from clipmax.client import ServerError
from tests import artifacts
from tests.service.running import Running, serving

KEY = "a key of a test"
ROWS = artifacts.rows(7)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two versions of one model behind an API key."""
    folder = tmp_path_factory.mktemp("served")
    for _ in range(2):
        artifacts.publish(folder / "models", labels=4)
    keys = folder / "keys"
    keys.write_text(f"tests:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    with serving(folder / "models", folder, "--api-keys-file", str(keys), "--versions", "all") as running:
        yield running


@pytest.fixture
def client(service: Running) -> Iterator[Client]:
    with Client(service.url, api_key=KEY) as client:
        yield client


@pytest.mark.parametrize("version", [None, 1, 2])
def test_probabilities_are_those_of_onnxruntime(version: int | None, client: Client) -> None:
    """Bit for bit, by version, the newest where none is named; and the logits too."""
    content = artifacts.model(version or 2, labels=4).SerializeToString()
    logits, probabilities = artifacts.run(content, ROWS)
    found = client.predict(np.array(ROWS, np.float32), model="tiny", version=version, probabilities=True, logits=True)
    for row, prediction in enumerate(found):
        assert prediction.version == (version or 2)
        assert prediction.probabilities is not None
        assert prediction.logits is not None
        np.testing.assert_array_equal(np.array([*prediction.probabilities.values()], np.float32), probabilities[row])
        np.testing.assert_array_equal(np.array([*prediction.logits.values()], np.float32), logits[row])
        assert np.float32(prediction.probability) == probabilities[row].max()
        assert prediction.label == f"label {probabilities[row].argmax()}"


def test_both_clients_get_the_same(service: Running, client: Client) -> None:
    """But for the request id."""

    async def ask() -> list[Prediction]:
        async with AsyncClient(service.url, api_key=KEY) as asynchronous:
            await asynchronous.wait_until_ready()
            return await asynchronous.predict(ROWS, top_k=2)

    def without_id(predictions: list[Prediction]) -> list[tuple[object, ...]]:
        return [(one.label, one.top, one.model, one.version, one.out_of_range) for one in predictions]

    assert without_id(asyncio.run(ask())) == without_id(client.predict(ROWS, top_k=2))


@pytest.mark.parametrize(
    ("instances", "arguments", "code", "pointer"),
    [
        ([], {}, "EMPTY_BATCH", "/instances"),
        ([ROWS[0], ROWS[0][:-1]], {}, "INPUT_SHAPE", "/instances/1"),
        (ROWS, {"top_k": 0}, "PARAMETER", "/parameters/top_k"),
        (ROWS, {"model": "none"}, "MODEL_NOT_FOUND", ""),
        (ROWS, {"model": "tiny", "version": 9}, "MODEL_NOT_FOUND", ""),
        ([[float("nan")] * 16], {}, "TYPE", "/instances/0/0"),
    ],
)
def test_errors_arrive_typed(
    instances: list[object], arguments: dict[str, object], code: str, pointer: str, client: Client
) -> None:
    """Code, place and request id, from a real answer."""
    with pytest.raises(ServerError, match=code) as caught:
        client.predict(instances, **arguments)  # type: ignore[arg-type]  # of several types on purpose
    assert (caught.value.code, caught.value.pointer) == (code, pointer)
    assert caught.value.request_id
    assert not caught.value.retryable


def test_a_missing_key_is_an_error_of_its_own(service: Running) -> None:
    """Health stays open, prediction does not."""
    with Client(service.url) as stranger:
        assert stranger.is_ready()
        with pytest.raises(ServerError, match="AUTH") as caught:
            stranger.predict(ROWS)
    assert caught.value.status == 401


def test_the_command_answers_a_large_file_in_pieces(
    service: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row once, in order, out of range marked."""
    rows = np.array(artifacts.rows(600), np.float32)
    rows[599, 0] = 1000
    np.save(tmp_path / "rows.npy", rows)
    (tmp_path / "key").write_text(KEY)
    arguments = ["predict", str(tmp_path / "rows.npy"), "--url", service.url, "--api-key-file", str(tmp_path / "key")]
    assert cli.main(arguments) == cli.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(600))
    assert [line.endswith("out of range") for line in lines] == [False] * 599 + [True]
