"""The manifest: what was sealed is read, and any change afterwards is refused with its place."""

from __future__ import annotations

import copy
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmax import manifest
from clipmax.labels import fault as label_fault
from clipmax.refusal import Refusal
from tests.clipmax.versions import document, publish

SCHEMA = Path(__file__).parents[2] / "models" / "manifest.schema.json"


def parse(body: dict[str, Any]) -> manifest.Manifest:
    return manifest.parse(json.dumps(body).encode(), where="manifest.json")


def test_what_was_dumped_is_parsed() -> None:
    """Every member arrives as it was sealed."""
    body = document(labels=["null", "één"], label_metadata={})
    found = manifest.parse(manifest.dump(body), where="manifest.json").model_dump(mode="json", exclude_unset=True)
    assert found | {"created": body["created"]} == body


def test_the_schema_beside_the_specification_is_current() -> None:
    """`python -m clipmax.manifest > models/manifest.schema.json` remakes it."""
    assert SCHEMA.read_text(encoding="utf-8") == manifest.json_schema()


def test_the_schema_takes_a_good_manifest_and_refuses_a_bad_one() -> None:
    """So that others can check a manifest without our code."""
    schema = json.loads(manifest.json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document(temperature=0), schema)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in children for found in _paths(child, (*path, key)))]


PLACES = [path for path in _paths(document()) if path]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_removed_member_is_refused(place: tuple[Any, ...]) -> None:
    """Whichever it is: the seal covers all of them, itself included."""
    body = copy.deepcopy(document())
    _at(body, place[:-1]).pop(place[-1])
    with pytest.raises(Refusal):
        parse(body)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_a_changed_member_is_refused(place: tuple[Any, ...]) -> None:
    """Even by a value that the schema would take."""
    body = copy.deepcopy(document())
    _at(body, place[:-1])[place[-1]] = _other(_at(body, place))
    with pytest.raises(Refusal):
        parse(body)


def _other(value: Any) -> Any:
    if isinstance(value, dict):
        return {**value, "more": 1}
    return value + 1 if isinstance(value, int | float) else value * 2


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


@given(bit=st.integers(0, 8 * len(manifest.dump(document())) - 1))
def test_a_flipped_bit_is_refused_or_changes_nothing(bit: int) -> None:
    """White space may change; no value may."""
    content = bytearray(manifest.dump(document()))
    content[bit // 8] ^= 1 << bit % 8
    try:
        found = manifest.parse(bytes(content), where="manifest.json")
    except Refusal:
        return
    assert found == parse(document())


def edit(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    body = copy.deepcopy(document())
    change(body)
    return body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (edit(lambda body: body["labels"].append("two")), "labels: expected 2 entries, found 3"),
        (edit(lambda body: body["golden"].pop()), "golden: expected 2 entries, found 1"),
        (edit(lambda body: body.update(temperature=1.3)), "seal.sha256: expected [0-9a-f]{64}, found [0-9a-f]{64}"),
        (edit(lambda body: body.update(format_version=2)), "format_version: expected 1, found 2"),
        (edit(lambda body: body.pop("seal")), "seal: expected an object, found NoneType"),
        (edit(lambda body: body.update(labels="ab")), "labels: expected a list, found str"),
        (document(temperature=0), "temperature: expected greater than 0, found 0"),
        (document(labels=["a", "a"]), "labels: expected labels that differ after Unicode NFC; 1 repeat another"),
        (document(labels=["a"], label_metadata={}), "labels: "),
        (document(labels=["a", "b\n"], label_metadata={}), "label 1 has one"),
        (document(labels=["a", "b" * 257], label_metadata={}), "label 1 has 257"),
        (document(label_metadata={"two": {}}), "label_metadata only for known labels; 1 are unknown"),
        (document(labels=["a", "b", "c"], label_metadata={}), "golden example 0"),
        (document(files={}), "model.onnx among files"),
        (document(created="2026-01-02T03:04:05"), "created: expected a time with its offset from UTC"),
        (document(name="../evil"), "name: "),
        (document(surprise=1), "surprise: expected a known key"),
    ],
)
def test_a_bad_manifest_is_refused_with_its_field(body: dict[str, Any], message: str) -> None:
    """Lengths first, so that the message names the list that changed; then the seal; then the schema."""
    with pytest.raises(Refusal, match=message) as caught:
        parse(body)
    assert caught.value.where == "manifest.json"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"1", b"\xff\xfe", b'{"a": NaN'])
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    """As the document itself."""
    with pytest.raises(Refusal, match="document: expected"):
        manifest.parse(content, where="manifest.json")


@given(junk=st.binary(max_size=100))
def test_any_bytes_are_a_refusal(junk: bytes) -> None:
    """Never another exception: a broken version must not stop a service."""
    with pytest.raises(Refusal):
        manifest.parse(junk, where="manifest.json")


@pytest.mark.parametrize("depth", [900, 1_000, 200_000])
def test_a_deeply_nested_file_is_a_refusal(depth: int) -> None:
    """And does not end the interpreter, wherever its stack runs out."""
    deep = b"[" * depth + b"]" * depth
    body = b'{"format_version":1,"labels":[],"golden":[],"seal":{},"x":' + deep + b"}"
    for content in (deep, body):
        with pytest.raises(Refusal):
            manifest.parse(content, where="manifest.json")


def test_a_lone_surrogate_is_a_refusal() -> None:
    """JSON can write it, UTF-8 cannot hold it."""
    with pytest.raises(Refusal, match="UTF-8"):
        parse(edit(lambda body: body.update(name="\ud800")))


def test_a_version_under_another_number_is_refused(tmp_path: Path) -> None:
    """A copied or renamed folder is not the version that it says."""
    folder = publish(tmp_path)
    with pytest.raises(Refusal, match="version: expected 7"):
        manifest.load(folder.rename(folder.parent / "7"))


def test_a_version_under_another_name_is_refused(tmp_path: Path) -> None:
    """The name belongs to the manifest as well."""
    folder = publish(tmp_path)
    with pytest.raises(Refusal, match="name: expected letters"):
        manifest.load(folder.parent.rename(tmp_path / "letters") / "1")


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    """With the path that was looked for."""
    with pytest.raises(Refusal, match=r"manifest\.json: file: expected a readable manifest"):
        manifest.load(tmp_path)


@given(labels=st.lists(st.text(), min_size=2, max_size=5))
def test_labels_without_fault_differ_and_can_be_printed(labels: list[str]) -> None:
    """What passes is unique in every normal form and holds no control character."""
    if label_fault(labels) is None:
        assert len({unicodedata.normalize("NFC", label) for label in labels}) == len(labels)
        assert all("\n" not in label and "\0" not in label and 0 < len(label) <= 256 for label in labels)


def test_labels_that_look_the_same_are_one_fault() -> None:
    """é is é, in one code point or two."""
    fault = label_fault(["\u00e9", "e\u0301"])
    assert fault == "labels that differ after Unicode NFC; 1 repeat another, the first is label 1, like label 0"
