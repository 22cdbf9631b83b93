"""TercetEmbeddings and EmbeddingsEncoder beyond the standard tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from tercet.encoders.mini import MiniEncoder

from langchain_tercet import EmbeddingsEncoder, TercetEmbeddings


async def test_vectors_are_those_of_the_dense_head(encoder: MiniEncoder) -> None:
    embeddings = TercetEmbeddings(encoder)

    assert embeddings.embed_query("cat") == encoder.encode_query("cat").dense.tolist()
    assert await embeddings.aembed_query("cat") == embeddings.embed_query("cat")
    assert embeddings.embed_documents(["cat", "dog"]) == [
        embedding.dense.tolist() for embedding in encoder.encode_documents(["cat", "dog"])
    ]
    assert np.linalg.norm(embeddings.embed_query("cat")) == pytest.approx(1, abs=1e-3)
    assert embeddings.embed_documents([]) == []


def test_an_empty_query_is_refused(encoder: MiniEncoder) -> None:
    with pytest.raises(ValueError, match="the query is empty"):
        TercetEmbeddings(encoder).embed_query(" ")


def test_one_model_is_shared_by_all_that_name_none() -> None:
    assert TercetEmbeddings().encoder is TercetEmbeddings().encoder


class Named(DeterministicFakeEmbedding):
    model: str = "large-3"


@pytest.mark.parametrize(
    ("embeddings", "options", "name"),
    [
        (Named(size=6), {}, "Named/large-3"),
        (DeterministicFakeEmbedding(size=6), {}, "DeterministicFakeEmbedding"),
        (Named(size=6), {"name": "mine v2"}, "mine v2"),
    ],
)
def test_an_encoder_is_named_after_the_callers_model(
    embeddings: Embeddings, options: dict[str, Any], name: str, encoder: MiniEncoder
) -> None:
    spec = EmbeddingsEncoder(embeddings, encoder=encoder, **options).spec

    assert spec.name == f"{name} + {encoder.spec.name}"
    assert spec.dense_dim == 6
    assert spec.fingerprint != encoder.spec.fingerprint


def test_what_is_no_embeddings_is_refused(encoder: MiniEncoder) -> None:
    with pytest.raises(TypeError, match="langchain_core Embeddings, got str"):
        EmbeddingsEncoder("text-embedding-3-small", encoder=encoder)  # type: ignore[arg-type]
