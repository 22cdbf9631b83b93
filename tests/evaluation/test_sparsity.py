from __future__ import annotations

from collections import Counter

import pytest

from tercet import HybridIndex
from tercet.encoders.mini import MiniEncoder
from tercet.evaluation import JudgedCollection
from tercet.evaluation.sparsity import Spread, sparsity_report
from tests.evaluation.samples import DOCUMENTS, QUERIES
from tests.toys import VOCABULARY_SIZE, ToyEncoder

WORDS = {id: set(text.split()) for id, text in DOCUMENTS.items()}


def test_counts_are_those_of_the_words(index: HybridIndex) -> None:
    report = sparsity_report(index, QUERIES.values(), longest=2)

    lengths = [len(words) for words in WORDS.values()]
    assert (report.documents, report.queries) == (5, 3)
    assert report.document_terms == Spread.of(lengths)
    assert report.query_terms.mean == 2
    assert report.non_zero == pytest.approx(sum(lengths) / 5 / VOCABULARY_SIZE)
    assert report.used_terms == len(set().union(*WORDS.values()))
    assert report.document_tokens.mean == pytest.approx(sum(len(text.split()) for text in DOCUMENTS.values()) / 5)


def test_flops_are_the_shared_terms_of_a_pair_on_average(index: HybridIndex) -> None:
    shared = [len(set(query.split()) & words) for query in QUERIES.values() for words in WORDS.values()]

    assert sparsity_report(index, QUERIES.values()).flops == pytest.approx(sum(shared) / len(shared))


def test_the_longest_posting_lists_are_the_most_frequent_terms(index: HybridIndex) -> None:
    frequency = Counter(word for words in WORDS.values() for word in words)

    found = sparsity_report(index, [], longest=5).longest_postings

    assert [posting.documents for posting in found] == [count for _, count in frequency.most_common(5)]
    assert all(frequency[posting.term] == posting.documents for posting in found)
    assert found[0].share == found[0].documents / 5


def test_bytes_follow_the_sizes_of_the_vectors(index: HybridIndex) -> None:
    report = sparsity_report(index, [])

    assert report.dense_bytes == 4 * 16
    assert report.sparse_bytes == pytest.approx(6 * report.document_terms.mean)
    assert report.late_bytes == pytest.approx(2 * 8 * report.document_tokens.mean)
    assert report.vector_bytes == report.dense_bytes + report.sparse_bytes + report.late_bytes
    assert report.disk_bytes is None


def test_a_text_of_its_own_words_has_no_expansion(index: HybridIndex) -> None:
    report = sparsity_report(index, QUERIES.values())

    assert (report.document_expansion, report.document_expansion_weight, report.query_expansion) == (0, 0, 0)


def test_expansions_are_the_terms_that_are_no_token_of_the_text() -> None:
    encoder = MiniEncoder()
    index = HybridIndex.in_memory(encoder=encoder)
    index.add([{"text": "myocardial infarction", "id": "a"}])
    [embedding] = encoder.encode_documents(["myocardial infarction"])
    own = set(encoder.document_tokens("myocardial infarction").sparse)
    terms = embedding.sparse.indices.tolist()
    expected = [term for term in terms if term not in {token.token_id for token in own}]

    report = sparsity_report(index, ["heart"])

    assert report.document_expansion == pytest.approx(len(expected) / len(terms))
    assert 0 < report.document_expansion < 1


def test_an_encoder_that_tells_no_tokens_leaves_expansions_unknown(collection: JudgedCollection) -> None:
    class Plain:
        """The toy without its tokens."""

        def __init__(self) -> None:
            toy = ToyEncoder()
            self.spec, self.terms = toy.spec, toy.terms
            self.encode_query, self.encode_queries = toy.encode_query, toy.encode_queries
            self.encode_documents = toy.encode_documents

    index = HybridIndex.in_memory(encoder=Plain())
    index.add(collection.documents)

    report = sparsity_report(index, QUERIES.values())

    assert (report.document_expansion, report.query_expansion) == (None, None)


def test_an_empty_index_is_refused(toy_encoder: ToyEncoder) -> None:
    with pytest.raises(ValueError, match="the index is empty"):
        sparsity_report(HybridIndex.in_memory(encoder=toy_encoder), [])
