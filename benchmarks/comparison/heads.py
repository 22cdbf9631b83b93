"""tercet's dense and sparse heads in the forms in which the other integrations take a model."""

from __future__ import annotations

from collections.abc import Callable

from langchain_core.embeddings import Embeddings

from comparison.corpus import RememberingEncoder


def dense_head(encoder: RememberingEncoder) -> Embeddings:
    """LangChain's Embeddings."""

    class DenseHead(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [embedding.dense.tolist() for embedding in encoder.encode_documents(texts)]

        def embed_query(self, text: str) -> list[float]:
            vector: list[float] = encoder.encode_query(text).dense.tolist()
            return vector

    return DenseHead()


def sparse_head(encoder: RememberingEncoder) -> object:
    """langchain-qdrant's SparseEmbeddings."""
    from langchain_qdrant.sparse_embeddings import SparseEmbeddings, SparseVector

    class SparseHead(SparseEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[SparseVector]:
            found = encoder.encode_documents(texts)
            return [SparseVector(indices=e.sparse.indices.tolist(), values=e.sparse.values.tolist()) for e in found]

        def embed_query(self, text: str) -> SparseVector:
            sparse = encoder.encode_query(text).sparse
            return SparseVector(indices=sparse.indices.tolist(), values=sparse.values.tolist())

    return SparseHead()


def sparse_function(
    encoder: RememberingEncoder, *, queries: bool
) -> Callable[[list[str]], tuple[list[list[int]], list[list[float]]]]:
    """llama-index-vector-stores-qdrant's sparse_doc_fn and sparse_query_fn."""

    def encode(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        found = list(encoder.encode_queries(texts) if queries else encoder.encode_documents(texts))
        return [e.sparse.indices.tolist() for e in found], [e.sparse.values.tolist() for e in found]

    return encode
