"""The project's own client and the service: every kind of input both ways, cut to the limits of a real one."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from clipmax import AsyncClient, Client
from clipmax.client import Inference, Predictions, ServerError
from tests import artifacts
from tests.service.running import Running

IMAGES = np.random.default_rng(0).integers(0, 256, (250, *artifacts.SHAPE)).astype(np.uint8)
PEOPLE = {"age": [30.0, 7.0], "seen": [1_650_000_100, 1_650_000_000], "city": ["Rome", "Bern"]}


Ask = Callable[..., Any]


def ask_blocking(url: str, method: str, *arguments: Any, **options: Any) -> Any:
    with Client(url) as client:
        return getattr(client, method)(*arguments, **options)


def ask_async(url: str, method: str, *arguments: Any, **options: Any) -> Any:
    async def call() -> Any:
        async with AsyncClient(url, concurrency=3) as client:
            return await getattr(client, method)(*arguments, **options)

    return asyncio.run(call())


@pytest.fixture(params=[ask_blocking, ask_async], ids=["Client", "AsyncClient"])
def ask(request: pytest.FixtureRequest, kinds_service: Running) -> Ask:
    """One call of either client to the service of all kinds."""
    return functools.partial(cast("Ask", request.param), kinds_service.url)


def expected(kinds: Path, model: str, instances: Any, schema: Any) -> artifacts.Floats:
    return artifacts.run((kinds / model / "1" / "model.onnx").read_bytes(), instances, schema)[1]


def test_both_paths_give_the_bits_of_the_graph(ask: Ask, kinds: Path) -> None:
    """In more rows than one request may have."""
    predictions: Predictions = ask("predict", IMAGES, probabilities=True)
    inference: Inference = ask("infer", IMAGES, logits=True)
    graph = expected(kinds, "tiny", IMAGES.astype(float).tolist(), artifacts.IMAGE)
    np.testing.assert_array_equal(predictions.to_numpy(), graph)
    np.testing.assert_array_equal(inference.probabilities, graph)
    assert inference.label == [one.label for one in predictions]
    assert inference.logits is not None
    assert inference.logits.shape == graph.shape


def test_a_row_at_fault_keeps_its_number_among_many(ask: Ask) -> None:
    """Although it is another one in its request."""
    rows: list[Any] = IMAGES.reshape(250, -1).tolist()
    rows[201] = [0.0]
    with pytest.raises(ServerError, match="INPUT_SHAPE") as caught:
        ask("predict", rows)
    assert caught.value.row == 201


def test_images_are_sent_as_a_caller_has_them(ask: Ask, tmp_path: Path) -> None:
    """Array, path, bytes and PIL image give the same answer."""
    picture = Image.fromarray(IMAGES[0])
    path = tmp_path / "a.png"
    picture.save(path)
    found = ask("predict", [IMAGES[0], path, path.read_bytes(), picture], probabilities=True).to_numpy()
    np.testing.assert_array_equal(found, np.repeat(found[:1], 4, axis=0))
    np.testing.assert_array_equal(ask("infer", [path, path]).to_numpy(), found[:2])


@pytest.mark.parametrize("make", [dict, pl.DataFrame, pd.DataFrame])
def test_tables_are_sent_as_a_caller_has_them(ask: Ask, kinds: Path, make: Any) -> None:
    """Row by row as JSON, or column by column as raw tensors."""
    table = make(PEOPLE)
    rows = [dict(zip(PEOPLE, row, strict=True)) for row in zip(*PEOPLE.values(), strict=True)]
    graph = expected(kinds, "table", rows, artifacts.TABLE)
    given = rows if make is dict else table
    np.testing.assert_array_equal(ask("predict", given, model="table", probabilities=True).to_numpy(), graph)
    np.testing.assert_array_equal(ask("infer", table, model="table").to_numpy(), graph)


def test_texts_are_sent_as_strings(ask: Ask, kinds: Path) -> None:
    """A list, or a series of a data frame."""
    texts = [text for text in artifacts.TEXT_ROWS if isinstance(text, str)]
    graph = expected(kinds, "text", texts, artifacts.TEXT)
    for given in (texts, pl.Series(texts), pd.Series(texts)):
        np.testing.assert_array_equal(ask("predict", given, model="text", probabilities=True).to_numpy(), graph)
    np.testing.assert_array_equal(ask("infer", texts, model="text").to_numpy(), graph)


def test_metadata_is_typed(ask: Ask) -> None:
    """Of the default model, or of one that is named."""
    assert ask("metadata").name == "tiny"
    found = ask("metadata", "table", 1)
    assert [one.kind for one in found.inputs] == ["number", "number", "category"]
    assert (found.version, found.labels, found.limits.rows) == (1, ("label 0", "label 1", "label 2"), 100)
