"""The page is whole in itself, escapes what comes from data, and says so where it shows a part."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from clipmax.inputs import Input
from clipmax.origin import Origin
from tests.training.report.evidence import IMAGE, ROW, TEXT, evidence
from tests.training.test_history import HISTORY
from training.report.build import build
from training.report.page import HTML_FILE, JSON_FILE, files, render

HOSTILE = ("<script>alert(1)</script>", 'b & "c"', "'><img src=x onerror=alert(1)>")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; refuses one that is not well nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def html() -> str:
    """Of three classes with hostile names."""
    return render(build(evidence(labels=HOSTILE, inputs=(IMAGE, *ROW, TEXT))).model_copy(update={"version": 7}))


def test_the_page_is_well_nested_and_has_no_script(html: str) -> None:
    """Labels that are markup arrive as text, in tables, plots and mistakes."""
    page = Page(html)
    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"]
    text = "".join(page.text)
    assert all(label in text for label in HOSTILE)
    assert "<b>row</b>" in text
    assert "<i>USD</i>" in text


def test_nothing_outside_the_file_is_named(html: str) -> None:
    """No address; images are in the file, links stay on the page and their targets exist."""
    page = Page(html)
    assert not re.search(r"https?:|//[a-z]", html.replace("data:image/png;base64,", "").split("<body>")[0])
    sources = [value for _, name, value in page.attributes if name in {"src", "href", "xlink:href", "action", "srcset"}]
    assert sources
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in sources)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in sources if value.startswith("#")} <= set(ids)
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]+", "", html).replace("http-equiv", "")


def test_the_policy_on_the_page_lets_its_own_style_pass(html: str) -> None:
    """The hash in the policy is that of the style element."""
    (css,) = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    ("classes", "inputs"), [(2, ROW), (200, (TEXT,)), (300, (IMAGE,))], ids=["2 rows", "200 texts", "300 images"]
)
def test_any_number_of_classes_fits(classes: int, inputs: tuple[Input, ...]) -> None:
    """Many are shown in part, and the page says which part."""
    html = render(build(evidence(classes=classes, inputs=inputs)))
    Page(html)
    assert (f"The 30 of {classes} classes with the lowest F1." in html) == (classes > 30)
    assert ("would not fit a page" in html) == (classes > 200)
    assert len(html) < 500_000


def test_a_long_label_breaks_behind_its_underscores_and_stays_escaped() -> None:
    """In the tables of classes, on a phone."""
    html = render(build(evidence(labels=("top_up_<b>failed</b>", "one", "two"))))
    assert "top_<wbr>up_<wbr>&lt;b&gt;failed&lt;/b&gt;" in html
    assert "<b>failed" not in html


def test_headline_figures_name_their_split(html: str) -> None:
    """Test and validation are never mixed up."""
    text = "".join(Page(html).text)
    assert "Accuracy, test" in text
    assert "validation, first half" in text


def test_a_slope_is_explained_where_there_is_one() -> None:
    """In one sentence, with its sign in words."""
    report = build(evidence())
    assert "in more doubt than usual" not in render(report)
    for slope, words in ((0.31, "in more doubt than usual"), (-0.31, "in less doubt than usual")):
        text = "".join(Page(render(report.model_copy(update={"slope": slope, "slope_center": 0.2}))).text)
        assert words in text
        assert "0.31 × (its entropy − 0.20)" in text


def test_both_files_of_a_version_come_from_the_same_figures() -> None:
    """report.json is the report."""
    report = build(evidence())
    content = files(report)
    assert set(content) == {HTML_FILE, JSON_FILE}
    assert type(report).model_validate_json(content[JSON_FILE]) == report


def test_a_page_without_mistakes_says_why() -> None:
    """There are none, or rows must not be shown."""
    report = build(evidence()).model_copy(update={"mistakes": ()})
    assert "Not shown" in render(report)
    metrics = report.test.metrics.model_copy(update={"accuracy": 1.0})
    perfect = report.model_copy(update={"test": report.test.model_copy(update={"metrics": metrics})})
    assert "every row of the test split was answered correctly" in render(perfect)


def test_a_search_and_an_origin_are_told() -> None:
    """How many trials there were, also those that came to nothing, and where the first weights came from."""
    origin = Origin(name="<i>x</i>", version=3, sha256="0" * 64, known_labels=4, new_labels=1)
    report = build(evidence())
    assert 'id="search"' not in render(report)
    found = render(report.model_copy(update={"search": HISTORY, "origin": origin}))
    assert "6 trials were begun: 4 completed, 1 ended early because they were behind, 1 failed." in found
    assert "went on from &lt;i&gt;x&lt;/i&gt; version 3 (4 labels known, 1 new)" in found
