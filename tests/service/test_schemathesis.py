"""The OpenAPI document against the service behind it: what it describes is what is answered."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clipmax.problems import CATALOGUE
from tests.service.running import Running

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # schemathesis and its kin warn on import
    import schemathesis
    from schemathesis import GenerationMode, checks

EXAMPLES = 30
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def document(kinds_service: Running) -> Any:
    """The document of a service of one model of each kind of input."""
    return schemathesis.openapi.from_url(f"{kinds_service.url}/openapi.json")


def test_the_document_names_every_operation(document: Any) -> None:
    """Those of V1 and V2, health and metadata."""
    labels = {operation.ok().label for operation in document.get_all_operations()}
    assert {"POST /predict", "POST /v2/models/{name}/infer", "GET /v2", "POST /v2/repository/index"} <= labels


def test_answers_are_as_the_document_says(document: Any, kinds_service: Running) -> None:
    """No 5xx, statuses and media types that are documented, bodies of the documented schema."""
    for operation in document.get_all_operations():
        _try(operation.ok().as_strategy(), kinds_service.url)


def test_what_the_document_forbids_is_refused_as_it_says(document: Any, kinds_service: Running) -> None:
    """Requests that break a schema: an error that is documented, never a 5xx."""
    for operation in document.get_all_operations():
        if operation.ok().body:
            _try(operation.ok().as_strategy(generation_mode=GenerationMode.NEGATIVE), kinds_service.url)


def _try(cases: Any, url: str) -> None:
    """Generated requests of one operation."""

    @given(case=cases, model=st.sampled_from([None, "tiny", "table", "text"]))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any, model: str | None) -> None:
        if model is not None and case.path_parameters:  # made up names are only ever a 404
            case.path_parameters |= {key: {"name": model, "version": "1"}.get(key, "x") for key in case.path_parameters}
        response = case.call(base_url=url, timeout=20)
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            problem = response.json()
            assert problem["code"] in CATALOGUE
            assert problem["status"] == response.status_code

    ask()
