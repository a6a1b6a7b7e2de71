"""Labels, and the file in which very many of them lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmax import files, labels
from clipmax.refusal import Refusal

WORDS = ("zero", "één", "a\u2028b", "c\u00a0d")


def read(path: Path, content: bytes, count: int) -> tuple[str, ...]:
    path.write_bytes(content)
    return labels.read(path, files.record(content), count=count)


def test_a_file_gives_the_labels_that_were_written(tmp_path: Path) -> None:
    """In their order; only a line feed ends a label, not what else Unicode takes for the end of a line."""
    assert read(tmp_path / labels.FILE, labels.encode(WORDS), len(WORDS)) == WORDS


@given(words=st.lists(st.text(min_size=1, max_size=4), min_size=2, max_size=6))
def test_labels_without_fault_come_back(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever they are made of."""
    if labels.fault(words) is None:
        path = tmp_path_factory.getbasetemp() / labels.FILE
        assert read(path, labels.encode(words), len(words)) == tuple(words)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\n", "labels: expected 3 lines, as the seal says, found 2"),
        (b"a\nb\nc\nd\n", "labels: expected 3 lines, as the seal says, found 4"),
        (b"a\nb\nc", "text: expected a line feed at the end"),
        (b"a\nb\na\n", "labels: expected labels that differ after Unicode NFC, found 1 repeat another, the first is "),
        ("a\n\u00e9\ne\u0301\n".encode(), "found 1 repeat another, the first is label 2, like label 1"),
        (b"a\nb\tb\nc\n", "labels: expected labels without control characters, found label 1 has one"),
        (b"a\nb\r\nc\n", "found label 1 has one"),
        (b"a\n\nc\n", "labels: expected labels of 1 to 256 code points, found label 1 has 0"),
        (b"a\n" + b"b" * 257 + b"\nc\n", "found label 1 has 257"),
        (b"a\n\xff\nc\n", "text: expected UTF-8, found another byte at 2"),
        (b"", "text: expected a line feed"),
    ],
)
def test_a_file_with_a_fault_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    """Even when its hash fits."""
    with pytest.raises(Refusal, match=message) as refusal:
        read(tmp_path / labels.FILE, content, 3)
    assert refusal.value.where.endswith(labels.FILE)


def test_a_changed_byte_is_refused(tmp_path: Path) -> None:
    """Before anything is read from it."""
    path, content = tmp_path / labels.FILE, labels.encode(WORDS)
    path.write_bytes(content.replace(b"zero", b"zerp"))
    with pytest.raises(Refusal, match="sha256"):
        labels.read(path, files.record(content), count=len(WORDS))


def test_a_repeat_among_very_many_is_found_and_named() -> None:
    """And so is a control character."""
    words = [f"label {index}" for index in range(100_000)]
    assert labels.fault(words) is None
    words[70_000] = words[3]
    assert "the first is label 70000, like label 3" in str(labels.fault(words))
    words[70_000] = "a\x7f"
    assert labels.fault(words) == "labels without control characters; label 70000 has one"


def test_one_repeat_among_a_million_is_found_and_named() -> None:
    """With both places."""
    many = [f"label {number}" for number in range(1_000_000)]
    many[654_321] = many[123]
    assert labels.fault(many) == (
        "labels that differ after Unicode NFC; 1 repeat another, the first is label 654321, like label 123"
    )
