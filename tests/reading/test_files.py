from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from tercet.errors import UnreadableFile
from tercet.reading import Skip, read_documents


def write(folder: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def test_a_folder_is_read_with_all_below_it_in_a_stable_order(tmp_path: Path) -> None:
    write(tmp_path, z_DOT_txt="last", a__b_DOT_md="# B\n\nbody", a__a_DOT_rst="AA\n==\n\nbody", c_DOT_htm="<p>page")

    ids = [document.id for document in read_documents(tmp_path)]

    root = tmp_path.as_posix()
    assert ids == [f"{root}/c.htm#1", f"{root}/z.txt#1", f"{root}/a/a.rst#aa/1", f"{root}/a/b.md#b/1"]


def test_a_passage_knows_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, docs__guide_DOT_md="\ufeff# Guide\r\n\r\n## Keys\r\n\r\nRotate them.\r\n")

    [document] = read_documents("./docs")

    assert document.text == "Guide > Keys\nRotate them."
    assert document.id == "docs/guide.md#keys/1"
    start, end = document.metadata["start"], document.metadata["end"]
    assert Path(document.metadata["source"]).read_text("utf-8-sig")[start:end] == "Rotate them."
    assert document.metadata == {
        "source": "docs/guide.md",
        "title": "Guide",
        "headings": ["Guide", "Keys"],
        "start": start,
        "end": end,
    }


def test_an_html_page_without_headings_is_named_by_its_title(tmp_path: Path) -> None:
    write(tmp_path, page_DOT_html="<title>Keys</title><p>Rotate them.")

    assert [document.text for document in read_documents(tmp_path)] == ["Keys\nRotate them."]


def test_what_is_passed_over_is_told_by_name(tmp_path: Path) -> None:
    write(tmp_path, _DOT_git__a_DOT_md="x", _DOT_hidden_DOT_md="x", b_DOT_txt=b"a\0b", c_DOT_py="x", d_DOT_txt="text")
    (tmp_path / "e").symlink_to(tmp_path)
    skips: list[Skip] = []

    documents = list(read_documents(tmp_path, on_skip=skips.append))

    assert [document.text for document in documents] == ["text"]
    assert {Path(skip.source).name: skip.reason for skip in skips} == {
        ".git": "hidden",
        ".hidden.md": "hidden",
        "b.txt": "binary",
        "c.py": "not of a kind that is read (.py)",
        "e": "a link to a folder",
    }
    assert not any(skip.is_problem for skip in skips)


def test_without_a_listener_passing_over_is_silent(tmp_path: Path) -> None:
    write(tmp_path, b_DOT_txt=b"a\0b", c_DOT_py="x")

    assert list(read_documents(tmp_path)) == []


def test_a_file_that_is_named_is_read_whatever_its_ending(tmp_path: Path) -> None:
    write(tmp_path, _DOT_notes_DOT_log="# no heading here")

    [document] = read_documents(tmp_path / ".notes.log")

    assert document.text == "# no heading here"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9", r"a\.txt: is not UTF-8 \(byte 3\); convert it"),
        (b"\xef\xbb\xbfcaf\xe9", r"a\.txt: is not UTF-8 \(byte 6\)"),
        ("text".encode("utf-16"), r"a\.txt: is not UTF-8 \(byte 0\)"),
        (b"a\0b", r"a\.txt: is binary, expected text"),
    ],
)
def test_a_named_file_that_is_no_text_says_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    write(tmp_path, a_DOT_txt=content)

    with pytest.raises(UnreadableFile, match=message):
        list(read_documents(tmp_path / "a.txt"))


def test_with_a_listener_reading_goes_on_after_a_problem(tmp_path: Path) -> None:
    write(tmp_path, a_DOT_txt=b"caf\xe9", b_DOT_txt="text")
    skips: list[Skip] = []

    documents = list(read_documents(tmp_path, on_skip=skips.append))

    assert [document.text for document in documents] == ["text"]
    [skip] = skips
    assert skip.is_problem
    assert skip.reason.startswith("is not UTF-8 (byte 3)")
    assert str(skip).count("a.txt") == 1


def test_a_path_that_is_not_there_is_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="nowhere: there is no such file or folder"):
        read_documents([tmp_path, tmp_path / "nowhere"])


def test_files_are_read_one_at_a_time(tmp_path: Path) -> None:
    write(tmp_path, a_DOT_txt="text", b_DOT_txt=b"caf\xe9")

    documents = read_documents(tmp_path)

    assert next(documents).text == "text"  # the bad file has not been touched yet
    with pytest.raises(UnreadableFile):
        next(documents)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode elsewhere")
def test_a_file_name_that_is_not_unicode_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("text")
    skips: list[Skip] = []

    assert list(read_documents(tmp_path, on_skip=skips.append)) == []
    assert [skip.is_problem for skip in skips] == [True]
    assert "caf\\udce9.txt" in str(skips[0])


def test_a_file_of_prose_is_reported_when_all_its_passages_are_given(tmp_path: Path) -> None:
    write(
        tmp_path, a_DOT_md="# A\n\none\n\n# B\n\ntwo", b_DOT_txt="", c_DOT_txt=b"caf\xe9", d_DOT_jsonl='{"text": "x"}'
    )
    done: list[str] = []

    documents = read_documents(tmp_path, name_source=lambda path: path.name, on_skip=[].append, on_prose=done.append)

    assert [next(documents).id, next(documents).id, done] == ["a.md#a/1", "a.md#b/1", []]
    assert [document.metadata["source"] for document in documents] == ["d.jsonl"]
    assert done == ["a.md", "b.txt"]


def test_standard_input_is_jsonl(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps({"id": "a", "text": "hello"}).encode()))
    monkeypatch.setattr("sys.stdin", stdin)

    [document] = read_documents("-")

    assert (document.id, document.text, document.metadata) == ("a", "hello", {"source": "-"})
