"""Texts in, dense vectors out: the dense head of a tercet encoder as a LlamaIndex embed model."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks import CallbackManager
from numpy.typing import NDArray

from llama_index.retrievers.tercet.given import given_or_shipped
from tercet.encoders.base import Encoder


class TercetEmbedding(BaseEmbedding):
    """The dense vectors of an index's encoder, offline and without a key.

    Give it to `VectorStoreIndex`, `IngestionPipeline` and semantic splitters in place of OpenAI's. Texts and queries
    are encoded as the index does it, so its vectors and the index's own can be compared.

    Example:
        ```python
        from llama_index.embeddings.tercet import TercetEmbedding

        embed_model = TercetEmbedding()
        print(len(embed_model.get_query_embedding("how often do keys change?")))
        ```
    """

    fingerprint: str = Field(description="Of the encoder: it changes whenever a text would get another vector.")

    _encoder: Encoder = PrivateAttr()
    _shipped: bool = PrivateAttr()

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        embed_batch_size: int = 64,
        num_workers: int | None = None,
        embeddings_cache: Any = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """Share an index's encoder, or load the shipped one.

        encoder: `index.encoder`; where none is given, tercet-mini is loaded, which takes a second
        """
        shipped = encoder is None
        encoder = given_or_shipped(encoder)
        fields: dict[str, Any] = {
            "model_name": encoder.spec.name,
            "fingerprint": encoder.spec.fingerprint,
            "embed_batch_size": embed_batch_size,
            "num_workers": num_workers,
            "embeddings_cache": embeddings_cache,
            "callback_manager": callback_manager or CallbackManager([]),
        }
        super().__init__(**fields)
        self._encoder = encoder
        self._shipped = shipped

    @classmethod
    def class_name(cls) -> str:
        return "TercetEmbedding"

    def _get_query_embedding(self, query: str) -> Embedding:
        return _numbers(self._encoder.encode_query(query).dense)

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return [_numbers(embedding.dense) for embedding in self._encoder.encode_documents(texts)]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    def __reduce__(self) -> tuple[Any, ...]:
        # For the workers of an IngestionPipeline. The shipped model is loaded there again: a session cannot be copied.
        settings = {"embed_batch_size": self.embed_batch_size, "num_workers": self.num_workers}
        return _made_again, (type(self), None if self._shipped else self._encoder, settings)


def _made_again(kind: type[TercetEmbedding], encoder: Encoder | None, settings: dict[str, Any]) -> TercetEmbedding:
    return kind(encoder, **settings)


def _numbers(vector: NDArray[np.float32]) -> list[float]:
    """(dim,) as LlamaIndex holds it."""
    return [float(number) for number in vector]
