"""The catalogue of errors: every row makes a document that is a problem (RFC 9457) and a V2 error."""

from __future__ import annotations

import pytest

from clipmax.problems import CATALOGUE, Kind, Problem

KINDS = pytest.mark.parametrize("kind", CATALOGUE.values(), ids=list(CATALOGUE))


@KINDS
def test_every_row_makes_the_one_document(kind: Kind) -> None:
    """With exactly the members of the contract."""
    document = Problem(kind.code, "what was expected", pointer="/instances/3").document("request-1")
    assert document == {
        "type": f"urn:clipmax:problem:{kind.code.lower().replace('_', '-')}",
        "title": kind.title,
        "status": kind.status,
        "detail": "what was expected",
        "code": kind.code,
        "pointer": "/instances/3",
        "request_id": "request-1",
        "retryable": kind.retryable,
        "error": f"{kind.code}: what was expected",
    }


@KINDS
def test_v2_knows_no_422(kind: Kind) -> None:
    """Open Inference Protocol servers say 400 where V1 says 422; every other status is the same."""
    document = Problem(kind.code, "detail").document("", v2=True)
    assert document["status"] == (400 if kind.status == 422 else kind.status)


@KINDS
def test_only_what_may_pass_is_retryable(kind: Kind) -> None:
    """A request that is wrong stays wrong; a full queue, a start and a shutdown pass."""
    assert kind.retryable == (kind.status in {408, 429, 503, 504})


def test_an_unknown_code_cannot_be_raised() -> None:
    """Every code that travels is in the catalogue."""
    with pytest.raises(KeyError):
        Problem("NO_SUCH_CODE", "detail")
