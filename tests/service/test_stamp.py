"""Stamps differ once something was changed."""

from __future__ import annotations

from pathlib import Path

from service import stamp


def test_a_file_s_stamp_changes_with_its_content_and_its_place(tmp_path: Path) -> None:
    """A link that is put elsewhere counts, as Kubernetes changes mounted files."""
    first, second, link = tmp_path / "first", tmp_path / "second", tmp_path / "link"
    first.write_text("a")
    second.write_text("a")
    link.symlink_to(first)
    before = stamp.of_file(link)
    assert before == stamp.of_file(first) == stamp.of_file(link)
    link.unlink()
    link.symlink_to(second)
    assert stamp.of_file(link) != before
    first.write_text("ab")
    assert stamp.of_file(first) != before
    assert stamp.of_file(tmp_path / "none") is None


def test_a_folder_s_stamp_changes_with_every_file_in_it(tmp_path: Path) -> None:
    """Come, gone, grown or put in another's place."""
    seen = [stamp.of_folder(tmp_path / "none"), stamp.of_folder(tmp_path)]
    assert seen[0] is None
    for change in (
        lambda: (tmp_path / "a").write_text("a"),
        lambda: (tmp_path / "a").write_text("ab"),
        lambda: (tmp_path / "a").rename(tmp_path / "b"),
        (tmp_path / "b").unlink,
    ):
        change()
        seen.append(stamp.of_folder(tmp_path))
    assert len(set(seen)) == len(seen)
