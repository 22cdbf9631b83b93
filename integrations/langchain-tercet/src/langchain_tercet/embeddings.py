"""LangChain's Embeddings and our encoder, each as the other."""

from __future__ import annotations

import asyncio
from functools import cache

from langchain_core.embeddings import Embeddings
from tercet import HybridIndex, SearchPlan
from tercet.encoders.base import Encoder
from tercet.encoders.own_dense import OwnDense
from tercet.processors import in_thread
from tercet.types import DENSE


class TercetEmbeddings(Embeddings):
    """The dense head as LangChain Embeddings: unit vectors, 384 numbers each with the shipped model.

    Args:
        encoder: the shipped tercet-mini where none is given, loaded once for all that ask so; `index.encoder` is
            that of an index
    """

    def __init__(self, encoder: Encoder | None = None) -> None:
        self.encoder = encoder or default_encoder()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [embedding.dense.tolist() for embedding in self.encoder.encode_documents(texts)]

    def embed_query(self, text: str) -> list[float]:
        """Raises ValueError for an empty query."""
        vector: list[float] = self.encoder.encode_query(text).dense.tolist()
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        return await in_thread(self.embed_query, text)

    def __repr__(self) -> str:
        return f"TercetEmbeddings({self.encoder!r})"


class EmbeddingsEncoder(OwnDense):
    """An encoder whose dense vectors are made by any LangChain Embeddings, the rest by ours.

    Args:
        embeddings: OpenAI's, Cohere's, …
        name: of the model. An index takes no vectors of a model of another name. The class and its `model` where
            none is given, like "OpenAIEmbeddings/text-embedding-3-small"
        encoder: of the sparse vectors and multi-vectors; the shipped tercet-mini where none is given
        dim: size of the vectors; asked of the model once where it is not given
    """

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        name: str | None = None,
        encoder: Encoder | None = None,
        dim: int | None = None,
    ) -> None:
        if not isinstance(embeddings, Embeddings):
            raise TypeError(f"embeddings are a langchain_core Embeddings, got {type(embeddings).__name__}")
        super().__init__(
            encoder or default_encoder(),
            embed_query=embeddings.embed_query,
            embed_documents=embeddings.embed_documents,
            name=name or _model_name(embeddings),
            dim=dim,
        )
        self.embeddings = embeddings


def encoder_for(embedding: Embeddings | None) -> Encoder:
    """What an index is opened with, so that its dense vectors are made by `embedding`."""
    if embedding is None:
        return default_encoder()
    return embedding.encoder if isinstance(embedding, TercetEmbeddings) else EmbeddingsEncoder(embedding)


def embeddings_of(index: HybridIndex) -> Embeddings:
    """What makes the dense vectors of an index."""
    return index.encoder.embeddings if isinstance(index.encoder, EmbeddingsEncoder) else TercetEmbeddings(index.encoder)


def query_vector(index: HybridIndex, query: str) -> list[float] | None:
    """The query's dense vector where LangChain Embeddings make it; None where our encoder makes all three in one pass.

    Raises:
        ValueError: the query is empty.
    """
    check_query(query)
    return index.encoder.embeddings.embed_query(query) if isinstance(index.encoder, EmbeddingsEncoder) else None


async def aquery_vector(index: HybridIndex, query: str) -> list[float] | None:
    """`query_vector`, awaited, as a remote model wants to be."""
    check_query(query)
    return await index.encoder.embeddings.aembed_query(query) if isinstance(index.encoder, EmbeddingsEncoder) else None


async def avector_for(index: HybridIndex, query: str, plan: SearchPlan | None) -> list[float] | None:
    """`aquery_vector` for a search by this plan; a model whose stage takes no part is not asked."""
    return await aquery_vector(index, query) if DENSE in (plan or index.plan).stages else None


def check_query(query: str) -> None:
    """What the index checks, too: here it is before somebody else's model is asked and paid."""
    if not isinstance(query, str):
        raise TypeError(f"a query is a str, got {type(query).__name__}")
    if not query.strip():
        raise ValueError("the query is empty; ask for at least one word")


@cache
def default_encoder() -> Encoder:
    """The shipped model: loading it takes half a second and some 100 MB, so whoever names no encoder shares one."""
    from tercet.encoders.mini import MiniEncoder

    return MiniEncoder()


def _model_name(embeddings: Embeddings) -> str:
    for attribute in ("model", "model_name", "model_id", "deployment"):
        value = getattr(embeddings, attribute, None)
        if isinstance(value, str) and value:
            return f"{type(embeddings).__name__}/{value}"
    return type(embeddings).__name__
