"""A collection that langchain-qdrant wrote, taken over where it stands, with the caller's own Embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models
from tercet import HybridIndex
from tercet.encoders.mini import MiniEncoder

from langchain_tercet import EmbeddingsEncoder, TercetRetriever, TercetVectorStore

EMBEDDING = DeterministicFakeEmbedding(size=16)
DOCUMENTS = [
    Document(id=f"00000000-0000-0000-0000-{n:012}", page_content=text, metadata={"n": n, "nested": {"deep": [n]}})
    for n, text in enumerate(["Rotate the signing keys every 90 days.", "Backups run at night.", "The cat sat down."])
]


@pytest.fixture
def theirs() -> Iterator[QdrantVectorStore]:
    store = QdrantVectorStore.from_documents(DOCUMENTS, EMBEDDING, location=":memory:", collection_name="docs")
    yield store
    store.client.close()


@pytest.fixture
def joined(theirs: QdrantVectorStore, encoder: MiniEncoder) -> HybridIndex:
    index = HybridIndex.attach(
        theirs.client, "docs", layout="langchain", encoder=EmbeddingsEncoder(EMBEDDING, encoder=encoder)
    )
    index.backfill(progress=False)
    return index


def vectors(client: QdrantClient) -> dict[str, list[float]]:
    points, _ = client.scroll("docs", with_vectors=True)
    return {str(point.id): point.vector[""] if isinstance(point.vector, dict) else point.vector for point in points}  # type: ignore[misc]


async def test_what_they_wrote_is_found_whole(joined: HybridIndex) -> None:
    store = TercetVectorStore(joined)

    assert store.get_by_ids([str(document.id) for document in DOCUMENTS]) == DOCUMENTS
    found = store.similarity_search("how often are keys rotated?", k=3)
    assert sorted(found, key=lambda document: str(document.id)) == DOCUMENTS
    assert store.similarity_search("keys", filter={"nested.deep": 2}) == [DOCUMENTS[2]]
    [best] = await TercetRetriever(index=joined, k=1, where={"n": 0}).ainvoke("keys")
    assert set(best.metadata["relevance_trace"]["stages"]) == {"dense", "sparse", "fused", "late"}
    vector = EMBEDDING.embed_query("Backups run at night.")
    [(document, cosine)] = store.similarity_search_with_score_by_vector(vector, k=1)
    assert (document, cosine) == (DOCUMENTS[1], pytest.approx(1.0, abs=1e-5))


def test_their_vectors_stay_and_they_go_on(theirs: QdrantVectorStore, encoder: MiniEncoder) -> None:
    before = vectors(theirs.client)

    index = HybridIndex.attach(
        theirs.client, "docs", layout="langchain", encoder=EmbeddingsEncoder(EMBEDDING, encoder=encoder)
    )
    index.backfill(progress=False)

    assert vectors(theirs.client) == before
    assert [d.page_content for d in theirs.similarity_search("The cat sat down.", k=1)] == ["The cat sat down."]
    only = models.Filter(must=[models.FieldCondition(key="metadata.n", match=models.MatchValue(value=1))])
    assert [d.metadata["n"] for d in theirs.similarity_search("x", filter=only)] == [1]
    assert [d.metadata["n"] for d in TercetVectorStore(index).similarity_search("x", filter=only)] == [1]


def test_what_we_write_they_read(theirs: QdrantVectorStore, joined: HybridIndex) -> None:
    new = Document(id="00000000-0000-0000-0000-000000000009", page_content="Dogs bark.", metadata={"n": 9})

    TercetVectorStore(joined).add_documents([new])

    [found] = theirs.get_by_ids([str(new.id)])
    assert (found.page_content, found.metadata["n"]) == ("Dogs bark.", 9)
