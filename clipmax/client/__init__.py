"""Rows → typed predictions over HTTP, in a blocking and an asynchronous client.

    >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     (prediction,) = client.predict(digits[:1])
    ...     prediction.label, prediction.probability
    ('7', 0.9998)

`clipmax.client.errors` has the tree of what may be raised.
"""

from clipmax.client.asynchronous import AsyncClient
from clipmax.client.blocking import Client
from clipmax.client.connection import checked_url
from clipmax.client.errors import AnswerInvalid, ClientError, ServerError, Unreachable
from clipmax.client.inference import Inference
from clipmax.client.metadata import ModelMetadata
from clipmax.client.prediction import Novelty, Prediction, TopLabel
from clipmax.client.predictions import Predictions
from clipmax.client.retry import Retry
from clipmax.client.rows import Instances

__all__ = [
    "AnswerInvalid",
    "AsyncClient",
    "Client",
    "ClientError",
    "Inference",
    "Instances",
    "ModelMetadata",
    "Novelty",
    "Prediction",
    "Predictions",
    "Retry",
    "ServerError",
    "TopLabel",
    "Unreachable",
    "checked_url",
]
