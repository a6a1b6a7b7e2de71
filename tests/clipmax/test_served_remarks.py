"""What a client may ask beside probabilities, and what is remarked of rows, against the real service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipmax import AsyncClient, Client, Prediction
from clipmax.client import ServerError
from tests import artifacts
from tests.service.running import serving


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service of one model of each kind of input."""
    folder: Path = tmp_path_factory.mktemp("remarks")
    artifacts.publish(folder / "models", conformal=artifacts.CONFORMAL, abstention=artifacts.ABSTENTION)
    artifacts.publish_table(folder / "models")
    artifacts.publish_text(folder / "models")
    with serving(folder / "models", folder, "--default-model", "tiny") as running:
        yield running.url


def test_a_prediction_set_and_an_abstention_are_asked_for(url: str) -> None:
    """None where they were not."""
    with Client(url) as client:
        (asked,) = client.predict(artifacts.rows(1), coverage=0.8, coverage_method="plain", abstain=True)
        (bare,) = client.predict(artifacts.rows(1))
    assert asked.prediction_set is not None
    assert set(asked.prediction_set) <= {"label 0", "label 1", "label 2"}
    assert asked.abstained is (asked.probability < artifacts.ABSTENTION["threshold"])
    assert (bare.prediction_set, bare.abstained, bare.unknown, bare.truncated) == (None, None, (), ())


def test_both_clients_ask_alike(url: str) -> None:
    """Every parameter."""

    async def ask() -> list[Prediction]:
        async with AsyncClient(url) as client:
            return await client.predict(artifacts.rows(3), coverage=0.7, coverage_method="adaptive", abstain=True)

    with Client(url) as client:
        expected = client.predict(artifacts.rows(3), coverage=0.7, coverage_method="adaptive", abstain=True)
    found = asyncio.run(ask())
    assert [(row.prediction_set, row.abstained) for row in found] == [
        (row.prediction_set, row.abstained) for row in expected
    ]


def test_unknown_words_and_cut_texts_are_remarked(url: str) -> None:
    """By the names of their inputs."""
    with Client(url) as client:
        assert [row.unknown for row in client.predict([{"city": "Bern"}, {"city": "Rome"}], model="table")] == [
            ("city",),
            (),
        ]
        assert [row.truncated for row in client.predict(["a long text", "short"], model="text")] == [("text",), ()]


def test_a_coverage_that_cannot_be_promised_is_an_error(url: str) -> None:
    """With the parameter it is about."""
    with Client(url) as client, pytest.raises(ServerError, match="no calibration scores") as caught:
        client.predict(["banana"], model="text", coverage=0.9)
    assert (caught.value.code, caught.value.pointer) == ("PARAMETER", "/parameters/coverage")
