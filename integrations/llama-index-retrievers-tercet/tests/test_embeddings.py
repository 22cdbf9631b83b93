"""Dense and sparse vectors as the encoder makes them; copies for worker processes; other models inside an index."""

import asyncio
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, SparseEmbeddingEndEvent
from llama_index.core.node_parser import SemanticSplitterNodeParser
from llama_index.core.schema import MetadataMode, TextNode

from llama_index.embeddings.tercet import TercetEmbedding, encoder_with
from llama_index.retrievers.tercet import TercetRetriever
from llama_index.sparse_embeddings.tercet import TercetSparseEmbedding
from llama_index.vector_stores.tercet import TercetVectorStore
from tercet import HybridIndex
from tercet.encoders.base import Encoder
from tercet.errors import CollectionMismatch
from tercet.types import Embedding

TEXTS = ["Rotate the signing keys every 90 days.", "The cafeteria serves soup at noon."]


@pytest.fixture
def embeddings(encoder: Encoder) -> list[Embedding]:
    return list(encoder.encode_documents(TEXTS))


async def test_dense_vectors_are_the_encoder_s(encoder: Encoder, embeddings: list[Embedding]) -> None:
    model = TercetEmbedding(encoder)
    query = encoder.encode_query("soup?").dense

    for vectors in (model.get_text_embedding_batch(TEXTS), await model.aget_text_embedding_batch(TEXTS)):
        np.testing.assert_allclose(vectors, [embedding.dense for embedding in embeddings], atol=1e-2)
    for vector in (model.get_query_embedding("soup?"), await model.aget_query_embedding("soup?")):
        assert vector == query.tolist()
        assert {type(number) for number in vector} == {float}
    [alone] = encoder.encode_documents(TEXTS[:1])
    assert model.get_text_embedding(TEXTS[0]) == await model.aget_text_embedding(TEXTS[0]) == alone.dense.tolist()


async def test_sparse_vectors_are_the_encoder_s(encoder: Encoder, embeddings: list[Embedding]) -> None:
    model = TercetSparseEmbedding(encoder)

    for vectors in (model.get_text_embedding_batch(TEXTS), await model.aget_text_embedding_batch(TEXTS)):
        assert [set(vector) for vector in vectors] == [set(found.sparse.indices.tolist()) for found in embeddings]
        for vector, found in zip(vectors, embeddings, strict=True):
            np.testing.assert_allclose(list(vector.values()), found.sparse.values, rtol=1e-5)
    query = encoder.encode_query("soup?").sparse
    for vector in (model.get_query_embedding("soup?"), await model.aget_query_embedding("soup?")):
        assert vector == dict(zip(query.indices.tolist(), query.values.tolist(), strict=True))


def test_queries_and_documents_are_encoded_each_in_their_way(encoder: Encoder) -> None:
    long = " ".join(f"word{number}" for number in range(200))  # longer than a query, not than a document, may be
    sparse, dense = TercetSparseEmbedding(encoder), TercetEmbedding(encoder)

    assert sparse.get_query_embedding(long) != sparse.get_text_embedding(long)
    assert dense.get_query_embedding(long) != dense.get_text_embedding(long)


def test_a_text_without_a_word_has_an_empty_sparse_vector(encoder: Encoder) -> None:
    assert TercetSparseEmbedding(encoder).get_text_embedding("") == {}


@pytest.mark.parametrize("model", [TercetEmbedding, TercetSparseEmbedding])
def test_an_empty_query_is_refused(encoder: Encoder, model: Callable[[Encoder], Any]) -> None:
    with pytest.raises(ValueError, match="empty"):
        model(encoder).get_query_embedding(" ")


@pytest.mark.parametrize("model", [TercetEmbedding, TercetSparseEmbedding])
def test_an_index_in_place_of_its_encoder_is_refused(memory_index: HybridIndex, model: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"HybridIndex.*index\.encoder"):
        model(memory_index)


def test_events_are_fired(encoder: Encoder, recorder: Any) -> None:
    TercetEmbedding(encoder).get_query_embedding("soup?")
    TercetSparseEmbedding(encoder).get_query_embedding("soup?")

    assert [event.chunks for event in recorder.of(EmbeddingEndEvent)] == [["soup?"]]
    assert [event.chunks for event in recorder.of(SparseEmbeddingEndEvent)] == [["soup?"]]


# --- as a transformation ---


def test_nodes_get_their_vector_of_text_and_metadata(encoder: Encoder) -> None:
    node = TextNode(text="Soup.", metadata={"menu": "Monday", "secret": 1}, excluded_embed_metadata_keys=["secret"])
    model = TercetEmbedding(encoder)

    [embedded] = model([node])

    assert embedded.embedding == model.get_text_embedding("menu: Monday\n\nSoup.")
    assert node.get_content(MetadataMode.EMBED) == "menu: Monday\n\nSoup."


def test_what_a_pipeline_remembers_names_the_model(encoder: Encoder) -> None:
    written = TercetEmbedding(encoder).to_dict()

    assert written["fingerprint"] == encoder.spec.fingerprint
    assert written["model_name"] == encoder.spec.name
    assert written == TercetEmbedding(encoder).to_dict()


def test_the_shipped_model_travels_to_worker_processes(encoder: Encoder) -> None:
    shipped = TercetEmbedding(embed_batch_size=3)
    again = pickle.loads(pickle.dumps(shipped))

    assert again.embed_batch_size == 3
    assert again.get_query_embedding("soup?") == shipped.get_query_embedding("soup?")


def test_a_pipeline_with_workers_embeds(encoder: Encoder) -> None:
    pipeline = IngestionPipeline(transformations=[TercetEmbedding()])
    nodes = pipeline.run(documents=[Document(text=text) for text in TEXTS], num_workers=2)

    here = TercetEmbedding(encoder).get_text_embedding_batch(TEXTS)
    np.testing.assert_allclose([node.embedding for node in nodes], here, atol=1e-2)


def test_a_splitter_splits_by_its_vectors(encoder: Encoder) -> None:
    splitter = SemanticSplitterNodeParser(
        embed_model=TercetEmbedding(encoder), buffer_size=1, breakpoint_percentile_threshold=50
    )
    nodes = splitter.get_nodes_from_documents([Document(text=" ".join(TEXTS * 2))])

    assert len(nodes) > 1


# --- another embed model's dense vectors ---


class Letters(BaseEmbedding):
    """26 numbers: how often each letter occurs; keeps what it was asked."""

    asked: list[str] = Field(default_factory=list)

    def _get_text_embedding(self, text: str) -> list[float]:
        self.asked.append(text)
        return [1.0 + text.lower().count(chr(97 + number)) for number in range(26)]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)


@pytest.fixture
def letters() -> Letters:
    return Letters(model_name="letters-1")


def test_an_index_takes_another_model_s_dense_vectors(encoder: Encoder, letters: Letters) -> None:
    own = encoder_with(letters, encoder=encoder)
    index = HybridIndex.in_memory(encoder=own)
    index.add(TEXTS, progress=False)
    [found] = TercetRetriever(index, similarity_top_k=1).retrieve("soup")

    assert own.spec.dense_dim == 26
    first, second = (np.array(letters.get_text_embedding(text)) for text in ("soup", TEXTS[1]))
    by_hand = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert found.text == TEXTS[1]
    assert found.stages["dense"].score == pytest.approx(by_hand, abs=1e-5)  # type: ignore[attr-defined]


def test_what_the_framework_embedded_is_not_embedded_again(encoder: Encoder, letters: Letters) -> None:
    index = HybridIndex.in_memory(encoder=encoder_with(letters, encoder=encoder, dim=26))
    vector_index = VectorStoreIndex.from_vector_store(TercetVectorStore(index), embed_model=letters)
    vector_index.insert_nodes([TextNode(text=text) for text in TEXTS])
    assert letters.asked == TEXTS

    found = vector_index.as_retriever(similarity_top_k=1, vector_store_query_mode="hybrid").retrieve("soup")
    assert [node.text for node in found] == [TEXTS[1]]
    assert letters.asked == [*TEXTS, "soup"]


def test_a_model_that_does_not_say_its_name_must_be_named(encoder: Encoder) -> None:
    nameless = MockEmbedding(embed_dim=8)

    with pytest.raises(ValueError, match=r"MockEmbedding.*name="):
        encoder_with(nameless, encoder=encoder)
    assert encoder_with(nameless, encoder=encoder, name="mock-8").spec.name.startswith("mock-8")


def test_an_index_refuses_another_model_than_it_was_filled_with(
    tmp_path: Path, encoder: Encoder, letters: Letters
) -> None:
    with HybridIndex.open(tmp_path / "kb", encoder=encoder_with(letters, encoder=encoder)) as index:
        index.add(TEXTS, progress=False)

    with pytest.raises(CollectionMismatch, match="letters-1"):
        HybridIndex.open(tmp_path / "kb", encoder=encoder_with(letters, encoder=encoder, name="letters-2"))
