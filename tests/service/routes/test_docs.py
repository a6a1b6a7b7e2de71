"""`/docs` and the OpenAPI document."""

from __future__ import annotations

import re

import httpx


def test_the_page_needs_no_other_host(http: httpx.Client) -> None:
    """Everything it loads comes from here, and its policy lets nothing else in."""
    page = http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 4
    for link in links:
        assert "//" not in link
        found = http.get(f"/{link}")
        assert found.status_code == 200
        assert found.content
    assert "<script>" not in page.text


def test_no_key_is_spoken_of_where_none_is_asked_for(http: httpx.Client) -> None:
    """Generated clients would want one."""
    document = http.get("/openapi.json").json()
    assert "security" not in document
    assert "securitySchemes" not in document["components"]


def test_the_document_s_example_is_a_request_that_works(http: httpx.Client) -> None:
    """For the default model and for each by its name."""
    document = http.get("/openapi.json").json()
    for path in ("/predict", "/v1/models/{name}:predict", "/v1/models/{name}/versions/{version}:predict"):
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        example = content["examples"]["tiny"]
        assert "label 2" in example["description"]
        assert "[4, 4]" in example["description"]
        names = {p["name"]: p["example"] for p in document["paths"][path]["post"].get("parameters", [])}
        assert http.post(path.format(**names), json=example["value"]).status_code == 200


def test_every_reference_in_the_document_leads_somewhere(http: httpx.Client) -> None:
    """And what the framework would add about its own errors is not in it."""
    text = http.get("/openapi.json").text
    schemas = http.get("/openapi.json").json()["components"]["schemas"]
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert references
    assert references <= set(schemas)
    assert "ValidationError" not in text


def test_the_other_pages_of_the_framework_are_off(http: httpx.Client) -> None:
    """They load from other hosts."""
    for path in ("/redoc", "/docs/oauth2-redirect", "/docs/nothing.js"):
        assert http.get(path).json()["code"] == "PATH_NOT_FOUND"
