"""An embed model of LlamaIndex in, a tercet encoder out: your dense vectors beside our SPLADE and late interaction."""

from __future__ import annotations

from llama_index.core.base.embeddings.base import BaseEmbedding

from llama_index.retrievers.tercet.given import given_or_shipped
from tercet.encoders.base import Encoder
from tercet.encoders.own_dense import OwnDense


def encoder_with(
    embed_model: BaseEmbedding, *, encoder: Encoder | None = None, name: str | None = None, dim: int | None = None
) -> OwnDense:
    """An encoder for `HybridIndex.open(…, encoder=…)` whose dense vectors are the embed model's.

    The same embed model then goes to `VectorStoreIndex`; what it embedded there is not embedded again.

    encoder: makes sparse vectors and multi-vectors; the shipped one where none is given
    name: of the model with its version, which the index remembers; the embed model's own where it is not given
    dim: size of its vectors; found by embedding one word where it is not given

    Raises:
        ValueError: the embed model does not say its name.
    """
    name = embed_model.model_name if name is None else name
    if name == "unknown":
        raise ValueError(
            f"{type(embed_model).__name__} does not say which model it is; pass name='…': the index remembers it and "
            f"refuses vectors of another one"
        )
    return OwnDense(
        given_or_shipped(encoder),
        embed_query=embed_model.get_query_embedding,
        embed_documents=embed_model.get_text_embedding_batch,
        name=name,
        dim=dim,
    )
