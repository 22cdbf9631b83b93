"""TercetSparseEmbeddings inside langchain-qdrant's own store."""

from __future__ import annotations

import subprocess
import sys

import pytest
from langchain_core.documents import Document
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings
from tercet import HybridIndex, SearchPlan
from tercet.encoders.mini import MiniEncoder

from langchain_tercet import TercetEmbeddings, TercetSparseEmbeddings, TercetVectorStore

TEXTS = [
    "Rotate the signing keys every 90 days.",
    "Backups run every night at two.",
    "The cat sat on the mat.",
    "The dog chased the cat through the garden.",
]


async def test_vectors_are_those_of_the_sparse_head(encoder: MiniEncoder) -> None:
    sparse = TercetSparseEmbeddings(encoder)
    expected = encoder.encode_query("cat").sparse

    query = sparse.embed_query("cat")

    assert isinstance(sparse, SparseEmbeddings)
    assert (query.indices, query.values) == (expected.indices.tolist(), expected.values.tolist())
    assert await sparse.aembed_query("cat") == query
    assert [len(vector.indices) > 0 for vector in sparse.embed_documents(TEXTS)] == [True] * 4
    assert await sparse.aembed_documents(TEXTS) == sparse.embed_documents(TEXTS)
    with pytest.raises(ValueError, match="the query is empty"):
        sparse.embed_query("")


def test_a_plain_qdrant_store_ranks_by_it_as_tercet_does(encoder: MiniEncoder) -> None:
    ids = [f"00000000-0000-0000-0000-{n:012}" for n in range(len(TEXTS))]
    qdrant = QdrantVectorStore.from_texts(
        TEXTS,
        ids=ids,
        location=":memory:",
        retrieval_mode=RetrievalMode.SPARSE,
        sparse_embedding=TercetSparseEmbeddings(encoder),
    )
    ours = TercetVectorStore(HybridIndex.in_memory(encoder=encoder), plan=SearchPlan(stages=("sparse",)))
    ours.add_texts(TEXTS, ids=ids)

    for query in ("a cat in a garden", "how often are keys rotated?"):
        expected = [(document.page_content, score) for document, score in ours.similarity_search_with_score(query)]
        found = [(d.page_content, s) for d, s in qdrant.similarity_search_with_score(query, k=len(expected))]
        assert [text for text, _ in found] == [text for text, _ in expected]
        assert [score for _, score in found] == pytest.approx([score for _, score in expected], rel=1e-4)
    qdrant.client.close()


def test_a_plain_qdrant_store_takes_all_our_heads_but_the_late_one(encoder: MiniEncoder) -> None:
    qdrant = QdrantVectorStore.from_documents(
        [Document(page_content=text) for text in TEXTS],
        TercetEmbeddings(encoder),
        location=":memory:",
        retrieval_mode=RetrievalMode.HYBRID,
        sparse_embedding=TercetSparseEmbeddings(encoder),
    )

    assert qdrant.similarity_search("how often are keys rotated?", k=1)[0].page_content == TEXTS[0]
    qdrant.client.close()


def test_without_langchain_qdrant_the_error_names_the_extra() -> None:
    code = """
import sys
sys.modules["langchain_qdrant"] = None  # as if it were not installed
from langchain_tercet import *
try:
    TercetSparseEmbeddings()
except ImportError as error:
    assert "pip install 'langchain-tercet[qdrant]'" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
