from __future__ import annotations

import json
from pathlib import Path

import pytest

from tercet.errors import UnreadableFile
from tercet.reading import Skip, read_documents
from tercet.types import Document


def read(tmp_path: Path, name: str, content: str | bytes, **options: str) -> list[Document]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_documents(path, text_column=options.get("text_column")))


def read_record(tmp_path: Path, record: object) -> Document:
    [document] = read(tmp_path, "a.jsonl", json.dumps(record))
    return document


def test_a_record_of_beir_keeps_its_id_and_begins_with_its_title(tmp_path: Path) -> None:
    document = read_record(
        tmp_path, {"_id": "MED-10", "title": "Statins", "text": "They help.", "metadata": {"url": "u"}}
    )

    assert (document.id, document.text) == ("MED-10", "Statins\nThey help.")
    assert document.metadata == {"title": "Statins", "url": "u", "source": str(tmp_path / "a.jsonl")}


@pytest.mark.parametrize("name", ["text", "contents", "content", "page_content", "passage", "body"])
def test_the_text_is_found_under_the_names_that_are_in_use(tmp_path: Path, name: str) -> None:
    assert read_record(tmp_path, {name: "hello"}).text == "hello"


def test_keys_that_are_left_over_are_metadata(tmp_path: Path) -> None:
    document = read_record(tmp_path, {"docid": 7, "text": "hello", "year": 2024, "tags": ["a"], "source": "web"})

    assert document.id == "7"
    assert document.metadata == {"year": 2024, "tags": ["a"], "source": "web"}


def test_a_record_without_id_is_the_same_document_wherever_it_stands_in_the_file(tmp_path: Path) -> None:
    a, b = ('{"text": "hello"}', '{"text": "goodbye"}')

    first = read(tmp_path, "a.jsonl", f"{a}\n{b}\n")
    second = read(tmp_path, "a.jsonl", f"{b}\n\n{a}\n")

    assert [document.id for document in first] == [document.id for document in reversed(second)]


def test_a_title_alone_is_a_text(tmp_path: Path) -> None:
    assert read_record(tmp_path, {"title": "Statins", "text": ""}).text == "Statins"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": ', "Expecting value"),
        (b"[1]", "holds a JSON array, expected an object"),
        (b'{"txt": "a"}', "has no text under 'text' or .*, its keys are 'txt'"),
        (b'{"text": 3}', "must be a string, got a JSON number"),
        (b'{"text": " "}', "empty text"),
        (b'{"text": "a", "id": [1]}', "must be a string or a whole number, got a JSON array"),
        (b'{"text": "a", "score": NaN}', "JSON cannot hold"),
        (b'{"text": "\\ud800"}', "lone surrogate"),
        (b'{"text": "caf\xe9"}', "can't decode byte 0xe9"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path: Path, line: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile, match=rf"a\.jsonl:2: .*{message}"):
        read(tmp_path, "a.jsonl", b'{"text": "good"}\n' + line + b"\n")


def test_bad_lines_are_counted_once_a_file_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\nbad\n{"text": "two"}\nworse\n')
    skips: list[Skip] = []

    documents = list(read_documents(path, on_skip=skips.append))

    assert [document.text for document in documents] == ["one", "two"]
    [skip] = skips
    assert skip.reason.startswith("2 bad lines, first line 2: Expecting value")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_csv_file_has_a_header_and_a_document_a_row(tmp_path: Path, separator: str) -> None:
    rows = [["id", "Text", "year", "lang"], ["a", '"hello, ""you"";\nthere"', "2024", ""]]
    content = "\r\n".join(separator.join(row) for row in rows)

    [document] = read(tmp_path, "a.csv", "\ufeff" + content)

    assert (document.id, document.text) == ("a", 'hello, "you";\nthere')
    assert document.metadata == {"year": "2024", "source": str(tmp_path / "a.csv")}


def test_the_text_column_can_be_named(tmp_path: Path) -> None:
    [document] = read(tmp_path, "a.csv", "question,text\nwhy?,because\n", text_column="question")

    assert (document.text, document.metadata["text"]) == ("why?", "because")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,name\n1,a\n", r"a\.csv:1: no text column among 'id', 'name'; expected one of text, .*--text-column"),
        (b"", r"a\.csv:1: no text column among no columns at all"),
        (b"id,text\n1,a,b\n", r"a\.csv:2: has 3 cells, the header names 2 columns"),
        (b'id,text\n1,a\n2,"never closed\n3,c\n', r"a\.csv:4: unexpected end of data"),
        (b"id,text\n1,caf\xe9\n", r"a\.csv:2: is not UTF-8 \(byte 13\)"),
    ],
)
def test_a_csv_file_that_cannot_be_read_says_where_and_why(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message):
        read(tmp_path, "a.csv", content)


def test_a_problem_of_a_whole_csv_file_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,name\n1,a\n")
    skips: list[Skip] = []

    assert list(read_documents(path, on_skip=skips.append)) == []
    assert skips[0].reason.startswith("line 1: no text column")
