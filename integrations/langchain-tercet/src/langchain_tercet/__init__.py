"""LangChain over tercet: hybrid retrieval in one model pass, with dense, SPLADE and late interaction, fused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_tercet.embeddings import EmbeddingsEncoder, TercetEmbeddings
from langchain_tercet.filters import to_where
from langchain_tercet.reranker import TercetReranker
from langchain_tercet.retriever import TercetRetriever
from langchain_tercet.translator import TercetTranslator
from langchain_tercet.vectorstore import TercetVectorStore, TercetVectorStoreRetriever

if TYPE_CHECKING:
    from langchain_tercet.sparse import TercetSparseEmbeddings

__version__ = "0.1.0"
__all__ = [
    "EmbeddingsEncoder",
    "TercetEmbeddings",
    "TercetReranker",
    "TercetRetriever",
    "TercetSparseEmbeddings",
    "TercetTranslator",
    "TercetVectorStore",
    "TercetVectorStoreRetriever",
    "__version__",
    "to_where",
]


def __getattr__(name: str) -> object:
    # Imported when asked for: it brings langchain-qdrant, which nothing else here needs.
    if name == "TercetSparseEmbeddings":
        from langchain_tercet.sparse import TercetSparseEmbeddings

        return TercetSparseEmbeddings
    raise AttributeError(f"module 'langchain_tercet' has no attribute {name!r}")
