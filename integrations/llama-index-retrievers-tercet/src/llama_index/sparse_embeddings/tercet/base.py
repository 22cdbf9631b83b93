"""Texts in, weighted vocabulary terms out: the SPLADE head of a tercet encoder as a LlamaIndex sparse embed model."""

from __future__ import annotations

import asyncio

from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding, SparseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from llama_index.retrievers.tercet.given import given_or_shipped
from tercet.encoders.base import Encoder
from tercet.types import SparseVector


class TercetSparseEmbedding(BaseSparseEmbedding):
    """SPLADE for a vector store that takes sparse vectors from outside.

    A vector is {vocabulary id: weight}, all weights positive; that of a text without a word is empty. Queries and texts
    are encoded each in their way, so use the method that is meant for each. LlamaIndex's `similarity` of two is a
    cosine; SPLADE scores by the dot product.

    Example:
        ```python
        from llama_index.sparse_embeddings.tercet import TercetSparseEmbedding

        sparse_embedding = TercetSparseEmbedding()
        print(sparse_embedding.get_query_embedding("rotate keys"))
        ```
    """

    _encoder: Encoder = PrivateAttr()

    def __init__(
        self, encoder: Encoder | None = None, *, embed_batch_size: int = 64, num_workers: int | None = None
    ) -> None:
        """Share an index's encoder (`index.encoder`), or load the shipped one."""
        encoder = given_or_shipped(encoder)
        super().__init__(model_name=encoder.spec.name, embed_batch_size=embed_batch_size, num_workers=num_workers)
        self._encoder = encoder

    @classmethod
    def class_name(cls) -> str:
        return "TercetSparseEmbedding"

    def _get_query_embedding(self, query: str) -> SparseEmbedding:
        return _weights(self._encoder.encode_query(query).sparse)

    async def _aget_query_embedding(self, query: str) -> SparseEmbedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> SparseEmbedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> SparseEmbedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[SparseEmbedding]:
        return [_weights(embedding.sparse) for embedding in self._encoder.encode_documents(texts)]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[SparseEmbedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


def _weights(vector: SparseVector) -> SparseEmbedding:
    return dict(zip(vector.indices.tolist(), vector.values.tolist(), strict=True))
