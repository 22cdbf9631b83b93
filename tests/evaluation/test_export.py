from __future__ import annotations

import json
from pathlib import Path

import pytest

from tercet import HybridIndex
from tercet.evaluation.export import export_documents, export_queries, features, whole_weights
from tests.evaluation.samples import DOCUMENTS, QUERIES
from tests.toys import ToyEncoder


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_anserini_gets_whole_weights_by_term(index: HybridIndex, tmp_path: Path) -> None:
    assert export_documents(index, tmp_path / "a.jsonl", "anserini") == 5

    found = {line["id"]: line for line in lines(tmp_path / "a.jsonl")}
    assert found["pear"] == {
        "id": "pear",
        "contents": "a pear is green",
        "vector": {"a": 100, "pear": 100, "is": 100, "green": 100},
    }
    assert found["keys"]["vector"] == {"rotate": 100, "the": 169, "vault": 100, "keys": 169, "and": 100, "secret": 100}


def test_anserini_asks_by_repeating_terms_so_scores_are_the_dot_product(
    index: HybridIndex, toy_encoder: ToyEncoder, tmp_path: Path
) -> None:
    export_documents(index, tmp_path / "a.jsonl", "anserini")
    assert export_queries(toy_encoder, QUERIES, tmp_path / "a.tsv", "anserini") == 3

    topics = dict(line.split("\t") for line in (tmp_path / "a.tsv").read_text().splitlines())
    vectors = {line["id"]: line["vector"] for line in lines(tmp_path / "a.jsonl")}
    for query, text in QUERIES.items():
        scores = {id: sum(vector.get(term, 0) for term in topics[query].split()) for id, vector in vectors.items()}  # type: ignore[attr-defined]
        [trace] = index.rankings([text])
        assert {id: score for id, score in scores.items() if score} == pytest.approx(
            {id: 10_000 * score for id, score in trace["sparse"]}, rel=0.01
        )


@pytest.mark.parametrize("format", ["elasticsearch", "opensearch"])
def test_a_bulk_file_has_an_action_before_each_document(index: HybridIndex, tmp_path: Path, format: str) -> None:
    count = export_documents(index, tmp_path / "a.ndjson", format, name="kb")  # type: ignore[arg-type]

    found = lines(tmp_path / "a.ndjson")
    assert (count, len(found)) == (5, 10)
    assert {action["index"]["_id"] for action in found[::2]} == set(DOCUMENTS)  # type: ignore[index]
    by_text = {document["text"]: document for document in found[1::2]}
    assert by_text["a pear is green"]["sparse"] == {"a": 1.0, "pear": 1.0, "is": 1.0, "green": 1.0}
    assert (tmp_path / "a.ndjson").read_text().endswith("\n")  # the bulk endpoints refuse a file without


def test_each_engine_is_asked_in_its_own_way(toy_encoder: ToyEncoder, tmp_path: Path) -> None:
    export_queries(toy_encoder, {"q1": "red cat"}, tmp_path / "e", "elasticsearch")
    export_queries(toy_encoder, {"q1": "red cat"}, tmp_path / "o", "opensearch")

    [elastic], [opensearch] = lines(tmp_path / "e"), lines(tmp_path / "o")
    weights = {"red": 1.0, "cat": 1.0}
    assert elastic["query"] == {"sparse_vector": {"field": "sparse", "query_vector": weights}}
    assert opensearch["query"] == {"neural_sparse": {"sparse": {"query_tokens": weights}}}


def test_names_have_no_dots_and_weights_that_round_to_nothing_are_left_out() -> None:
    assert features({".": 0.5, "##.5": 1.0, "a": 0.123456789}) == {"․": 0.5, "##․5": 1.0, "a": 0.12346}
    assert whole_weights({"a": 0.004, "b": 0.016}) == {"b": 2}


def test_another_format_is_refused_before_a_file_is_made(index: HybridIndex, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="anserini, elasticsearch, opensearch, got 'vespa'"):
        export_documents(index, tmp_path / "a", "vespa")  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()
