"""What `predict` asks → the path and the bodies of its requests in the V1 protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipmax.client import rows as rows_module
from clipmax.client.connection import JSON
from clipmax.client.cutting import Body

if TYPE_CHECKING:
    from clipmax.conformal import Method  # which brings pydantic, and a client needs none


class Question:
    """Rows, and what to say of each; None is what is left to the service."""

    def __init__(
        self,
        instances: rows_module.Data,
        *,
        top_k: int | None,
        probabilities: bool,
        logits: bool,
        coverage: float | None,
        coverage_method: Method | None,
        abstain: bool,
        novelty: bool,
        candidates: Sequence[str] | None,
        exclude_seen: bool,
    ) -> None:
        if isinstance(candidates, str):
            raise TypeError(f"candidates are a list of labels, got the string {candidates!r}")
        self._rows = rows_module.rows(instances)
        wanted = {
            "top_k": top_k,
            "probabilities": probabilities or None,
            "logits": logits or None,
            "coverage": coverage,
            "coverage_method": coverage_method,
            "abstain": abstain or None,
            "novelty": novelty or None,
            "candidates": None if candidates is None else list(candidates),
            "exclude_seen": exclude_seen or None,
        }
        self._parameters = {name: value for name, value in wanted.items() if value is not None}

    def __len__(self) -> int:
        return len(self._rows)

    def encode(self, start: int, stop: int) -> Body:
        """The request for some of the rows."""
        document = {"instances": self._rows[start:stop]} | (
            {"parameters": self._parameters} if self._parameters else {}
        )
        return Body(rows_module.dumps(document), {"Content-Type": JSON})
