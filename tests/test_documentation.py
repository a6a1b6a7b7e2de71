"""What the documents name is there: commands, paths, links, errors, manifest members, checksums."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from clipmax import cli, idx, inputs
from clipmax.manifest import Manifest
from clipmax.problems import CATALOGUE, Kind
from service.app import create_app
from service.settings import Settings
from tests.clipmax.versions import publish

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(path for folder in ("docs", "models", "examples") for path in (ROOT / folder).rglob("*.md")),
]
DOCUMENT = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
COMMANDS = {point.name for point in entry_points(group=cli.GROUP)}


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(document: Path) -> list[list[str]]:
    """The shell commands of a document, split into words."""
    lines = "\n".join(blocks(document, "sh")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if shlex.split(line, comments=True)]


@DOCUMENT
def test_every_link_leads_to_a_file(document: Path) -> None:
    """Relative ones; others cannot be tried without a network."""
    prose = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", prose):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@DOCUMENT
def test_every_make_target_exists(document: Path) -> None:
    """In commands and in running text."""
    named = re.findall(r"(?:`|^|\w=\S+ )make ([a-z]+)", document.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= TARGETS


@DOCUMENT
def test_every_command_exists(document: Path) -> None:
    """Subcommands of `clipmax`, with options that they know."""
    for words in commands(document):
        if Path(words[0]).name == "clipmax":
            assert words[1] in COMMANDS
            cli._parser().parse_args(words[1:])


@DOCUMENT
def test_every_measured_table_names_its_script(document: Path) -> None:
    """Which is there, and finds the marks between which it writes."""
    text = document.read_text(encoding="utf-8")
    for script in re.findall(r"^<!-- written by ([\w./-]+)", text, re.MULTILINE):
        assert (ROOT / script).exists(), script
    assert len(re.findall(r"^<!-- written by", text, re.MULTILINE)) == len(re.findall(r"^<!-- end", text, re.MULTILINE))


@DOCUMENT
def test_every_path_in_a_command_exists(document: Path) -> None:
    """What a reader pastes finds its files; `my-…` is the reader's own."""
    for words in commands(document):
        for path in re.findall(r"@?((?:examples|docs|bench|tests)/[\w./-]+)", " ".join(words)):
            assert (ROOT / path).exists(), path


@DOCUMENT
def test_every_python_block_compiles(document: Path) -> None:
    """At least that."""
    for block in blocks(document, "python"):
        compile(block, str(document), "exec")


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=list(CATALOGUE))
def test_every_error_is_listed(kind: Kind) -> None:
    """With its statuses, its meaning and whether to try again."""
    retryable = " yes |" if kind.retryable else " |"
    row = f"| `{kind.code}` | {kind.status} | {kind.status_v2} | {kind.title} |{retryable}"
    assert row in (ROOT / "docs" / "http.md").read_text(encoding="utf-8")


def test_no_error_is_listed_that_does_not_exist() -> None:
    """The table is the catalogue."""
    listed = re.findall(r"^\| `([A-Z0-9_]+)`", (ROOT / "docs" / "http.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(CATALOGUE)


def test_every_route_is_listed(tmp_path: Path) -> None:
    """Method and path, as the service's own OpenAPI document has them."""
    listed = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    for path, operations in create_app(Settings(models=tmp_path)).openapi()["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in listed


SPECIFICATION = (ROOT / "models" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("member", Manifest.model_fields)
def test_every_member_of_the_manifest_is_specified(member: str) -> None:
    """In the artifact's specification, under its name."""
    assert f"`{member}`" in SPECIFICATION


@pytest.mark.parametrize("kind", [inputs.ImageInput, inputs.NumberInput, inputs.CategoryInput, inputs.TextInput])
def test_every_kind_of_input_is_specified(kind: type[inputs.ImageInput]) -> None:
    """With each of its members."""
    for member in kind.model_fields:
        assert f"`{member}`" in SPECIFICATION
    assert f"| `{kind.model_fields['kind'].default}` |" in SPECIFICATION


def test_the_seal_can_be_computed_by_hand(tmp_path: Path) -> None:
    """The specification's block runs on a published version."""
    (block,) = blocks(ROOT / "models" / "README.md", "python")
    manifest = publish(tmp_path) / "manifest.json"
    run = block.replace('"models/mnist/1/manifest.json"', repr(str(manifest)))
    assert run != block
    exec(run, {})  # noqa: S102  # our own document
    manifest.write_text(manifest.read_text().replace('"temperature": 1.25', '"temperature": 1.5'))
    with pytest.raises(AssertionError):
        exec(run, {})  # noqa: S102  # as above


def test_the_bundled_files_are_the_original_ones() -> None:
    """By the checksums that their document states."""
    folder = ROOT / "examples" / "mnist"
    rows = re.findall(r"\| `(\S+\.gz)` \| (\d+) \| `(\w{64})` \|", (folder / "README.md").read_text())
    assert sorted(name for name, _, _ in rows) == sorted(path.name for path in folder.glob("*.gz"))
    for name, size, digest in rows:
        content = (folder / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (int(size), digest)


def test_the_digit_to_paste_is_a_test_digit() -> None:
    """Number 65."""
    folder = ROOT / "examples" / "mnist"
    (digit,) = json.loads((folder / "digit.json").read_text())["instances"]
    np.testing.assert_array_equal(digit, idx.read(folder / "t10k-images-idx3-ubyte.gz")[65])


def test_the_tree_in_the_readme_is_the_tree() -> None:
    """One line for each place, and each place is there."""
    tree = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What is where")[2]
    places = re.findall(r"^([a-z/]+/) +\S", tree, re.MULTILINE)
    assert len(places) >= 8
    for place in places:
        assert (ROOT / place).is_dir(), place
