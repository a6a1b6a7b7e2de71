"""clipmax: class probabilities you can trust, behind an HTTP POST.

The ground floor, needed by training, service and users alike; it imports neither torch nor onnxruntime. What it
offers is imported when it is first asked for, because the service needs no HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipmax.client import AsyncClient, Client, Prediction
    from clipmax.problems import Problem
    from clipmax.refusal import Refusal

__all__ = ["AsyncClient", "Client", "Prediction", "Problem", "Refusal"]

_PLACES = {
    "AsyncClient": "clipmax.client",
    "Client": "clipmax.client",
    "Prediction": "clipmax.client",
    "Problem": "clipmax.problems",
    "Refusal": "clipmax.refusal",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return __all__
