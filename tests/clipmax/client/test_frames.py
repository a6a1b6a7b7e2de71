"""Columns become raw tensors in the form of the Open Inference Protocol, and answers become arrays."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pytest

from clipmax.client import AnswerInvalid, ModelMetadata
from clipmax.client.cutting import Limits
from clipmax.client.frames import HEADER, Columns, read
from clipmax.client.inference import joined
from clipmax.client.metadata import InputMetadata

TWO = (InputMetadata("age", "number", "FP32", (1,)), InputMetadata("city", "category", "BYTES", (1,)))
METADATA = ModelMetadata("people", 1, ("a", "b"), TWO, Limits())
ONE = ModelMetadata("people", 1, ("a", "b"), TWO[:1], Limits())


def document(given: Any, metadata: ModelMetadata = METADATA, **options: Any) -> tuple[dict[str, Any], bytes]:
    """The JSON part and the raw part of a request."""
    columns = Columns(given, metadata, **{"logits": False, **options})
    body = columns.encode(0, len(columns))
    length = int(body.headers[HEADER])
    return json.loads(body.content[:length]), body.content[length:]


@pytest.mark.parametrize("make", [dict, pl.DataFrame, pd.DataFrame])
def test_a_table_travels_column_by_column(make: Any) -> None:
    """Numbers as they lie in memory, words behind their length."""
    found, raw = document(make({"age": [1.5, 2.5], "city": ["Rome", "Ö"]}))
    assert [(one["name"], one["datatype"], one["shape"]) for one in found["inputs"]] == [
        ("age", "FP64", [2]),
        ("city", "BYTES", [2]),
    ]
    assert raw == np.array([1.5, 2.5]).tobytes() + b"\4\0\0\0Rome" + b"\2\0\0\0" + "Ö".encode()


@pytest.mark.parametrize(
    ("dtype", "datatype"), [("uint8", "UINT8"), (">i4", "INT32"), ("float16", "FP16"), ("int64", "INT64")]
)
def test_an_array_alone_is_the_only_input(dtype: str, datatype: str) -> None:
    """In little-endian order, whatever its own."""
    array = np.arange(6).reshape(3, 2).astype(dtype)
    found, raw = document(array, ONE)
    assert (found["inputs"][0]["datatype"], found["inputs"][0]["shape"]) == (datatype, [3, 2])
    np.testing.assert_array_equal(np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).reshape(3, 2), array)


def test_logits_are_asked_for_only_where_they_are_wanted() -> None:
    """They cost as many bytes as the probabilities."""
    outputs = [[one["name"] for one in document([1.0], ONE, logits=wanted)[0]["outputs"]] for wanted in (False, True)]
    assert outputs == [["probabilities", "out_of_range"], ["probabilities", "logits", "out_of_range"]]


@pytest.mark.parametrize("given", [{"age": [1], "city": []}, [1.0]], ids=["lengths", "no names"])
def test_what_are_not_the_columns_is_refused(given: Any) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=r"columns|inputs"):
        document(given)


@pytest.mark.parametrize("city", [None, True, 1.5j])
def test_what_a_frame_cannot_carry_is_refused(city: Any) -> None:
    """A missing word above all, which JSON can carry."""
    with pytest.raises(TypeError, match="use predict"):
        document({"age": [1.0], "city": [city]})


def answer(rows: int = 2) -> httpx.Response:
    outputs = [
        {"name": "probabilities", "datatype": "FP32", "shape": [rows, 2], "parameters": {"binary_data_size": 8 * rows}},
        {"name": "out_of_range", "datatype": "BOOL", "shape": [rows], "parameters": {"binary_data_size": rows}},
    ]
    head = {"model_name": "people", "model_version": "1", "parameters": {"provider": "cpu"}, "outputs": outputs}
    text = json.dumps(head).encode()
    raw = np.array([[0.25, 0.75]] * rows, np.float32).tobytes() + bytes([1] * rows)
    request = httpx.Request("POST", "http://127.0.0.1/")
    return httpx.Response(200, headers={HEADER: str(len(text))}, content=text + raw, request=request)


def test_an_answer_becomes_arrays() -> None:
    """Its rows, its labels, and whether a value was clipped; parts are put together in order."""
    found = joined([read(answer(), METADATA, rows=2), read(answer(1), METADATA, rows=1)])
    np.testing.assert_array_equal(found.to_numpy(), np.array([[0.25, 0.75]] * 3, np.float32))
    assert (found.label, found.out_of_range.tolist(), found.logits) == (["b"] * 3, [True] * 3, None)
    for frame in (found.to_polars(), found.to_pandas()):
        assert list(frame.columns) == ["label", "probability", "p(a)", "p(b)", "out_of_range"]
        assert list(frame["probability"]) == [0.75] * 3


def test_another_answer_is_told_from_ours() -> None:
    """It has no header, or not as many rows as were asked."""
    with pytest.raises(AnswerInvalid):
        read(answer(2), METADATA, rows=3)
    request = httpx.Request("POST", "http://127.0.0.1/")
    with pytest.raises(AnswerInvalid):
        read(httpx.Response(200, content=b"{}", request=request), METADATA, rows=1)
