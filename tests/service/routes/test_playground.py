"""The files and documents behind the page `/`, without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import httpx
import pytest

from service.routes import playground
from tests import artifacts
from tests.service.running import serving

PAGE = resources.files("service").joinpath("playground")
REPORT = b"<html><style>p { color: red }</style><p>what training saw</p></html>"


def words(language: str) -> set[str]:
    """The keys of a language's sentences."""
    text = PAGE.joinpath("words", f"{language}.js").read_text(encoding="utf-8")
    return set(re.findall(r'^  "([^"]+)":', text, re.MULTILINE))


@pytest.mark.parametrize("path", sorted(playground.files()))
def test_every_file_comes_under_the_strict_policy(kinds_http: httpx.Client, path: str) -> None:
    """Of the right type, from here, nothing inline."""
    answer = kinds_http.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"].partition(";")[0] == playground.files()[path][1]


def test_no_file_names_another_host_or_has_anything_inline() -> None:
    """The name space of SVG is no address."""
    for content, _ in playground.files().values():
        text = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text
        assert not re.search(r"\sstyle=|\son\w+=\"|<style|innerHTML|javascript:", text)


def test_both_languages_say_everything() -> None:
    """Chinese has more only where English takes the service's own words."""
    assert words("en") <= words("zh")
    assert all(key.startswith("problem.") for key in words("zh") - words("en"))


def test_every_sentence_that_is_asked_for_exists() -> None:
    """In the scripts as a whole word, in the page as an attribute."""
    for content, _ in playground.files().values():
        for key in re.findall(r'(?:say\(|data-words=|data-label=)"([\w.]+)"', content.decode()):
            assert key in words("en"), key


def test_the_page_learns_what_the_models_take(kinds_http: httpx.Client) -> None:
    """Inputs, labels, examples with their labels, and what may be asked for."""
    overview = kinds_http.get("/playground/models.json").json()
    assert overview["default_model"] == "tiny"
    assert [one["name"] for one in overview["models"]] == ["table", "text", "tiny"]
    tiny, table = (kinds_http.get(f"/playground/models/{name}/1.json").json() for name in ("tiny", "table"))
    assert (tiny["coverage"], table["coverage"]) == (True, False)
    assert (tiny["abstention"]["threshold"], table["abstention"]) == (0.6, None)
    assert table["inputs"][2] == {"kind": "category", "name": "city", "dtype": "int32", "shape": [1],
        "categories": ["Rome", "Oslo"], "categories_count": 2}  # fmt: skip
    assert table["examples"][1]["values"] == {"age": None, "seen": None, "city": "Oslo"}
    assert table["examples"][2]["values"] == {"age": 7, "seen": None, "city": "Bern"}
    assert table["report"] is None


@pytest.mark.parametrize(
    "path", ["models/none/1.json", "models/tiny/2.json", "models/tiny/x.json", "reports/tiny/1", "x.js"]
)
def test_what_is_not_there_is_a_problem(kinds_http: httpx.Client, path: str) -> None:
    """Also a report that was not published."""
    assert kinds_http.get(f"/playground/{path}").status_code == 404


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A model with a report."""
    root = tmp_path / "models"
    artifacts.publish(root)
    return root


@pytest.fixture
def without(models: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    """A service without the page."""
    with serving(models, tmp_path, "--playground", "off") as running, httpx.Client(base_url=running.url) as client:
        yield client


def test_it_can_be_switched_off(without: httpx.Client) -> None:
    """Page, files and documents."""
    for path in ("/", "/playground/main.js", "/playground/models.json"):
        assert without.get(path).json()["code"] == "PATH_NOT_FOUND"


def test_a_report_may_use_only_the_styles_it_came_with() -> None:
    """By their hashes, whatever else is in it."""
    policy = playground._policy(REPORT)
    assert policy.startswith("default-src 'none'; ")
    assert policy.count("'sha256-") == 1
    assert "sandbox" in policy
    assert "style-src 'none'" in playground._policy(b"<p>plain</p>")
