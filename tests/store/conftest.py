from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from tercet.store.base import Store
from tercet.store.edge import EdgeStore
from tercet.store.memory import MemoryStore
from tercet.store.qdrant import QdrantStore
from tests.store.rest_double import RestDouble
from tests.store.samples import SPEC

# The tests of Edge make it panic, and a trace of its frames takes longer than the test.
os.environ["RUST_BACKTRACE"] = "0"

ENGINES = ["memory", "edge", "qdrant-local", "qdrant-rest", pytest.param("qdrant-server", marks=pytest.mark.server)]


@pytest.fixture
def double() -> Iterator[RestDouble]:
    with RestDouble() as double:
        yield double


@pytest.fixture
def server_collection() -> Iterator[tuple[QdrantClient, str]]:
    url = os.environ.get("QDRANT_URL")
    if not url:
        pytest.skip("QDRANT_URL is not set")
    client = QdrantClient(url)
    collection = f"tercet-tests-{uuid.uuid4()}"
    yield client, collection
    client.delete_collection(collection)
    client.close()


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind in turn."""
    match request.param:
        case "memory":
            store: Store = MemoryStore(SPEC)
        case "edge":
            store = EdgeStore.open(tmp_path / "index", SPEC)
        case "qdrant-local":
            store = QdrantStore.open(QdrantClient(":memory:"), "tests", SPEC)
        case "qdrant-rest":
            store = QdrantStore.open(request.getfixturevalue("double").url, "tests", SPEC)
        case "qdrant-server":
            store = QdrantStore.open(*request.getfixturevalue("server_collection"), SPEC)
    yield store
    store.close()
