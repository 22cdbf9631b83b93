"""langchain_core.indexing.index over the store: every hash, every way of cleaning up."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex
from langchain_core.indexing import index as index_documents
from tercet import HybridIndex

from langchain_tercet import TercetVectorStore

pytestmark = pytest.mark.filterwarnings("ignore:Using SHA-1:UserWarning")

KEY_LENGTH = {"sha1": 36, "sha256": 64, "sha512": 128, "blake2b": 128}


def document(text: str, source: str) -> Document:
    return Document(page_content=text, metadata={"source": source})


@pytest.fixture
def store(index: HybridIndex) -> TercetVectorStore:
    return TercetVectorStore(index)


def records() -> InMemoryRecordManager:
    manager = InMemoryRecordManager("tercet")
    manager.create_schema()
    return manager


def texts(store: TercetVectorStore) -> list[str]:
    return sorted(document.text for document in store.index.scroll())


FIRST = [document("one", "a"), document("two", "a"), document("three", "b")]
SECOND = [document("one", "a"), document("two, changed", "a")]
#: What is left of FIRST and SECOND, and how many were deleted, by the documentation of `index`.
LEFT: dict[str | None, tuple[list[str], int]] = {
    None: (["one", "three", "two", "two, changed"], 0),
    "incremental": (["one", "three", "two, changed"], 1),
    "scoped_full": (["one", "three", "two, changed"], 1),
    "full": (["one", "two, changed"], 2),
}


@pytest.mark.parametrize("key_encoder", KEY_LENGTH)
@pytest.mark.parametrize("cleanup", LEFT)
@pytest.mark.parametrize("awaited", [False, True])
async def test_index_writes_skips_and_cleans_up(
    store: TercetVectorStore, key_encoder: Any, cleanup: Any, awaited: bool
) -> None:
    manager = records()
    options: dict[str, Any] = {
        "cleanup": cleanup,
        "source_id_key": "source",
        "key_encoder": key_encoder,
        "batch_size": 2,
    }

    async def run(documents: list[Document]) -> dict[str, int]:
        if awaited:
            return dict(await aindex(documents, manager, store, **options))
        return dict(index_documents(documents, manager, store, **options))

    left, deleted = LEFT[cleanup]

    assert await run(FIRST) == {"num_added": 3, "num_updated": 0, "num_skipped": 0, "num_deleted": 0}
    assert await run(FIRST) == {"num_added": 0, "num_updated": 0, "num_skipped": 3, "num_deleted": 0}
    assert {len(document.id) for document in store.index.scroll()} == {KEY_LENGTH[key_encoder]}
    assert await run(SECOND) == {"num_added": 1, "num_updated": 0, "num_skipped": 1, "num_deleted": deleted}
    assert texts(store) == left


def test_full_cleanup_of_nothing_empties_the_store(store: TercetVectorStore) -> None:
    manager = records()
    index_documents(FIRST, manager, store, key_encoder="sha256")

    index_documents([], manager, store, cleanup="full", key_encoder="sha256")

    assert texts(store) == []


def test_a_tenants_index_leaves_the_others_alone(store: TercetVectorStore) -> None:
    for tenant in ("acme", "globex"):
        index_documents(FIRST, records(), store.for_tenant(tenant), key_encoder="sha256")
    manager = records()
    index_documents(FIRST, manager, store.for_tenant("acme"), key_encoder="sha256")

    index_documents([], manager, store.for_tenant("acme"), cleanup="full", key_encoder="sha256")

    assert store.index.count({"tenant": "acme"}) == 0
    assert store.index.count({"tenant": "globex"}) == 3
