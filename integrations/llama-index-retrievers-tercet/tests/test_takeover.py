"""A collection that llama-index-vector-stores-qdrant filled, taken over where it stands."""

import uuid
from collections.abc import Iterator

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from llama_index.embeddings.tercet import TercetEmbedding
from llama_index.retrievers.tercet import TercetRetriever
from llama_index.vector_stores.tercet import TercetVectorStore
from tercet import HybridIndex
from tercet.encoders.base import Encoder

TEXTS = ["Rotate the signing keys every 90 days.", "The cafeteria serves soup at noon.", "Bicycles stand in the yard."]


def uid(number: int) -> str:
    return str(uuid.UUID(int=number + 1))


@pytest.fixture
def nodes(embed_model: TercetEmbedding) -> list[TextNode]:
    return [
        TextNode(
            id_=uid(number),
            text=text,
            metadata={"page": number, "tags": ["a", "b"]},
            excluded_llm_metadata_keys=["page"],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc{number % 2}")},
            start_char_idx=number,
            embedding=embed_model.get_text_embedding(text),
        )
        for number, text in enumerate(TEXTS)
    ]


@pytest.fixture
def theirs(nodes: list[TextNode]) -> Iterator[QdrantVectorStore]:
    client = QdrantClient(":memory:")
    store = QdrantVectorStore("docs", client=client, index_doc_id=False)
    store.add(nodes)
    yield store
    client.close()


@pytest.fixture
def ours(theirs: QdrantVectorStore, encoder: Encoder) -> TercetVectorStore:
    index = HybridIndex.attach(theirs.client, "docs", layout="llama-index", encoder=encoder)
    index.backfill(progress=False)
    return TercetVectorStore(index)


def bare(node: TextNode) -> dict[str, object]:
    return node.model_copy(update={"embedding": None}).to_dict()


def test_what_they_wrote_is_read_whole(ours: TercetVectorStore, nodes: list[TextNode]) -> None:
    back = ours.get_nodes([node.node_id for node in nodes])

    assert [node.to_dict() for node in back] == [bare(node) for node in nodes]


async def test_it_is_found_by_all_stages_with_filters(ours: TercetVectorStore) -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key="page", value=1, operator=FilterOperator.LTE)])
    [best] = await TercetRetriever(ours.client, similarity_top_k=1, filters=filters).aretrieve("cafeteria soup")

    assert best.node_id == uid(1)
    assert set(best.stages) == {"dense", "sparse", "fused", "late"}  # type: ignore[attr-defined]
    query = VectorStoreQuery(query_str="soup", similarity_top_k=3, doc_ids=["doc0"], mode=VectorStoreQueryMode.HYBRID)
    assert sorted(ours.query(query).ids or []) == [uid(0), uid(2)]


def test_a_document_is_deleted_for_both(ours: TercetVectorStore, theirs: QdrantVectorStore) -> None:
    ours.delete("doc0")

    assert [node.node_id for node in ours.get_nodes()] == [uid(1)]
    assert [node.node_id for node in theirs.get_nodes([uid(n) for n in range(3)])] == [uid(1)]


def test_what_we_write_they_read(
    ours: TercetVectorStore, theirs: QdrantVectorStore, embed_model: TercetEmbedding, nodes: list[TextNode]
) -> None:
    node = nodes[0].model_copy(update={"id_": uid(9), "text": "Dogs bark."})
    node.embedding = embed_model.get_text_embedding("Dogs bark.")
    ours.add([node])

    [back] = theirs.get_nodes([uid(9)])
    assert (back.get_content(), back.metadata) == ("Dogs bark.", node.metadata)
    query = VectorStoreQuery(query_embedding=embed_model.get_query_embedding("barking"), similarity_top_k=1)
    assert theirs.query(query).ids == [uid(9)]


def test_what_we_write_they_read_whole(
    ours: TercetVectorStore, theirs: QdrantVectorStore, nodes: list[TextNode]
) -> None:
    node = nodes[0].model_copy(update={"id_": uid(9)})
    ours.add([node])

    [back] = theirs.get_nodes([uid(9)])
    assert isinstance(back, TextNode)
    assert bare(back) == bare(node)
