from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tercet.errors import UnreadableFile
from tercet.evaluation.judgements import read_collection, read_judgements, read_qrels, read_queries
from tests.evaluation.samples import DOCUMENTS, QRELS, QUERIES, jsonl, write_folder

CORPUS = jsonl({"_id": id, "text": text} for id, text in DOCUMENTS.items())


def refusal(folder: Path) -> str:
    with pytest.raises(UnreadableFile) as raised:
        read_collection(folder)
    return str(raised.value)


def test_a_beir_folder_is_documents_queries_and_judgements(tmp_path: Path) -> None:
    collection = read_collection(write_folder(tmp_path / "small"))

    assert collection.name == "small"
    assert {document.id: document.text for document in collection.documents} == DOCUMENTS
    assert collection.queries == QUERIES
    assert collection.qrels == QRELS
    assert collection.notes == ()


def test_a_split_is_read_and_so_is_gzip(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "qrels").mkdir()
    (folder / "qrels.tsv").rename(folder / "qrels" / "dev.tsv")
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress((folder / "corpus.jsonl").read_bytes()))
    (folder / "corpus.jsonl").unlink()

    assert read_collection(folder, split="dev").qrels == QRELS
    assert "has no qrels.tsv or qrels/test.tsv" in refusal(folder)


def test_the_title_stands_before_the_text_that_does_not_begin_with_it(tmp_path: Path) -> None:
    rows = [{"_id": "a", "title": "Cats", "text": "They sleep."}, {"_id": "b", "title": "Cats", "text": "Cats sleep."}]
    folder = write_folder(tmp_path, corpus=jsonl(rows), qrels="q1\ta\t1\n", queries=jsonl([{"_id": "q1", "text": "x"}]))

    assert [document.text for document in read_collection(folder).documents] == ["Cats. They sleep.", "Cats sleep."]


def test_trec_and_beir_judgements_are_the_same(tmp_path: Path) -> None:
    trec, beir = tmp_path / "a.txt", tmp_path / "b.tsv"
    trec.write_text("q1 0 dog 2\nq1 0 cat 0\n\nq2\t0\tpear\t-1\n")
    beir.write_text("query-id\tcorpus-id\tscore\nq1\tdog\t2\nq1\tcat\t0.0\nq2\tpear\t-1\n")

    assert read_qrels(trec) == read_qrels(beir) == {"q1": {"dog": 2, "cat": 0}, "q2": {"pear": -1}}


def test_queries_come_as_jsonl_or_as_a_table(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"id": 7, "text": "red cat"}\n')
    (tmp_path / "q.tsv").write_text("7\tred cat\n")

    assert read_queries(tmp_path / "q.jsonl") == read_queries(tmp_path / "q.tsv") == {"7": "red cat"}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("corpus", "", "corpus.jsonl: is empty"),
        ("queries", "\n\n", "queries.jsonl: is empty"),
        ("qrels", "", "qrels.tsv: is empty"),
        ("corpus", CORPUS + '{"_id": "cat", "text": "again"}\n', "corpus.jsonl:6: the id 'cat' stands on line 1"),
        ("queries", '{"_id": "q1", "text": "a"}\n{"_id": "q1", "text": "b"}\n', "queries.jsonl:2: the id 'q1' stands"),
        ("queries", '{"_id": "q1", "text": " "}\n', "queries.jsonl:1: query 'q1' has no text"),
        ("queries", '{"text": "a"}\n', "queries.jsonl:1: has no id"),
        ("queries", "[1]\n", "queries.jsonl:1: is not a JSON object"),
        ("corpus", "{\n", "corpus.jsonl:1: is not JSON"),
        ("qrels", "q1\tcat\t1\nq9\tcat\t1\n", "qrels.tsv:2: judges query 'q9', which"),
        ("qrels", "q1\tcat\t1\nq1\tcow\t1\n", "qrels.tsv:2: judges document 'cow', which corpus.jsonl does not have"),
        ("qrels", "q1\tcat\t1\nq1\tcat\t0\n", "qrels.tsv:2: document 'cat' is judged for query 'q1' on line 1 already"),
        ("qrels", "q1\tcat\t0.5\n", "qrels.tsv:1: the grade must be a whole number, got '0.5'"),
        ("qrels", "q1\tcat\t1\nq1\tdog\tmuch\n", "qrels.tsv:2: the grade must be a whole number, got 'much'"),
        ("qrels", "q1 cat\n", "qrels.tsv:1: has 2 columns"),
        ("qrels", "query-id\tcorpus-id\tscore\n", "judges none of the queries"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, file: str, text: str, message: str) -> None:
    assert message in refusal(write_folder(tmp_path, **{file: text}))


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "queries.jsonl").write_bytes(b'{"_id": "q1", "text": "a"}\n{"_id": "q2", "text": "caf\xe9"}\n')

    assert "queries.jsonl:2: is not UTF-8" in refusal(folder)


def test_a_missing_folder_or_file_says_what_is_expected(tmp_path: Path) -> None:
    assert "is no folder" in refusal(tmp_path / "none")
    folder = write_folder(tmp_path / "a")
    (folder / "queries.jsonl").unlink()
    assert "has no queries.jsonl" in refusal(folder)


def test_lines_that_are_wrong_can_be_left_out_and_are_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, qrels="q1\tcat\t1\nq1\tcow\t1\nq2\tpear\t1\nq3\tkeys\t1\n")

    collection = read_collection(folder, on_error="skip")

    assert collection.qrels == {"q1": {"cat": 1}, "q2": {"pear": 1}, "q3": {"keys": 1}}
    assert [note.split(": ", 1)[1] for note in collection.notes] == [
        "judges document 'cow', which corpus.jsonl does not have; do both belong to one collection?"
    ]


def test_queries_without_judgements_and_documents_without_text_are_noted(tmp_path: Path) -> None:
    corpus = CORPUS + '{"_id": "empty", "title": "", "text": ""}\n'
    folder = write_folder(tmp_path, corpus=corpus, qrels="q1\tempty\t1\nq2\tpear\t0\n")

    collection = read_collection(folder)

    assert list(collection.queries) == ["q1", "q2"]
    assert [note.removeprefix(f"{folder}/") for note in collection.notes] == [
        "corpus.jsonl:6: document 'empty' has no text; it is left out",
        "queries.jsonl:2: query 'q2' has no relevant document; it counts as 0 for every system",
        "queries.jsonl:3: query 'q3' has no judgements; it is left out",
    ]


def test_judgements_alone_are_for_an_index_that_has_the_documents(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)

    collection = read_judgements(folder / "queries.jsonl", folder / "qrels.tsv")

    assert (collection.documents, collection.qrels) == ((), QRELS)
