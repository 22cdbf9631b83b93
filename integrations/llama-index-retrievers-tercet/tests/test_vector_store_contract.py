"""The whole contract of a vector store, on both engines that need no server."""

import pytest
from vector_store_contract import VectorStoreContract

from llama_index.embeddings.tercet import TercetEmbedding
from llama_index.vector_stores.tercet import TercetVectorStore
from tercet import HybridIndex


class TestTercetVectorStore(VectorStoreContract):
    @pytest.fixture
    def vector_store(self, index: HybridIndex) -> TercetVectorStore:
        return TercetVectorStore(index)

    @pytest.fixture
    def embed_model(self, index: HybridIndex) -> TercetEmbedding:
        return TercetEmbedding(index.encoder)
