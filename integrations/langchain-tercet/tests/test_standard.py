"""LangChain's standard tests, whole, on the embedded engine and in memory, by our dense vectors and by the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.tools import BaseTool
from langchain_core.tools.retriever import create_retriever_tool
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    ToolsIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests, ToolsUnitTests
from tercet import HybridIndex
from tercet.encoders.base import Encoder

from langchain_tercet import EmbeddingsEncoder, TercetEmbeddings, TercetRetriever, TercetVectorStore

from .conftest import DOCUMENTS


class Embedded:
    callers_embeddings: Embeddings | None = None

    @pytest.fixture
    def vectorstore(self, tmp_path: Path, encoder: Encoder) -> Iterator[TercetVectorStore]:
        with HybridIndex.open(tmp_path / "kb", encoder=beside(self.callers_embeddings, encoder)) as index:
            yield TercetVectorStore(index)


class InMemory:
    callers_embeddings: Embeddings | None = None

    @pytest.fixture
    def vectorstore(self, encoder: Encoder) -> TercetVectorStore:
        return TercetVectorStore(HybridIndex.in_memory(encoder=beside(self.callers_embeddings, encoder)))


def beside(embeddings: Embeddings | None, encoder: Encoder) -> Encoder:
    return EmbeddingsEncoder(embeddings, encoder=encoder) if embeddings else encoder


class TestVectorStoreEmbedded(Embedded, VectorStoreIntegrationTests): ...


class TestVectorStoreInMemory(InMemory, VectorStoreIntegrationTests): ...


class TestVectorStoreEmbeddedWithCallersEmbeddings(Embedded, VectorStoreIntegrationTests):
    callers_embeddings = VectorStoreIntegrationTests.get_embeddings()


class TestVectorStoreInMemoryWithCallersEmbeddings(InMemory, VectorStoreIntegrationTests):
    callers_embeddings = VectorStoreIntegrationTests.get_embeddings()


class RetrieverSuite(RetrieversIntegrationTests):
    filled: HybridIndex

    @property
    def retriever_constructor(self) -> type[TercetRetriever]:
        return TercetRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"index": self.filled}

    @property
    def retriever_query_example(self) -> str:
        return "how often must keys be changed?"


class TestRetrieverEmbedded(RetrieverSuite):
    @pytest.fixture(autouse=True)
    def fill(self, tmp_path: Path, encoder: Encoder) -> Iterator[None]:
        with HybridIndex.open(tmp_path / "kb", encoder=encoder) as self.filled:
            TercetVectorStore(self.filled).add_documents(DOCUMENTS)
            yield


class TestRetrieverInMemory(RetrieverSuite):
    @pytest.fixture(autouse=True)
    def fill(self, encoder: Encoder) -> None:
        self.filled = HybridIndex.in_memory(encoder=encoder)
        TercetVectorStore(self.filled).add_documents(DOCUMENTS)


class EmbeddingsSuite:
    @pytest.fixture(autouse=True)
    def load(self, encoder: Encoder) -> None:
        self.encoder = encoder

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return TercetEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"encoder": self.encoder}


class TestEmbeddingsUnit(EmbeddingsSuite, EmbeddingsUnitTests): ...


class TestEmbeddingsIntegration(EmbeddingsSuite, EmbeddingsIntegrationTests): ...


class ToolSuite:
    filled: HybridIndex

    @property
    def tool_constructor(self) -> BaseTool:
        return create_retriever_tool(
            TercetRetriever(index=self.filled),
            "search_handbook",
            "Searches the handbook.",
            response_format="content_and_artifact",
        )

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "how often must keys be changed?"}


class ToolEmbedded(ToolSuite):
    @pytest.fixture(autouse=True)
    def fill(self, tmp_path: Path, encoder: Encoder) -> Iterator[None]:
        with HybridIndex.open(tmp_path / "kb", encoder=encoder) as self.filled:
            TercetVectorStore(self.filled).add_documents(DOCUMENTS)
            yield


class ToolInMemory(ToolSuite):
    @pytest.fixture(autouse=True)
    def fill(self, encoder: Encoder) -> None:
        self.filled = HybridIndex.in_memory(encoder=encoder)
        TercetVectorStore(self.filled).add_documents(DOCUMENTS)


class TestToolUnitEmbedded(ToolEmbedded, ToolsUnitTests): ...


class TestToolUnitInMemory(ToolInMemory, ToolsUnitTests): ...


class TestToolIntegrationEmbedded(ToolEmbedded, ToolsIntegrationTests): ...


class TestToolIntegrationInMemory(ToolInMemory, ToolsIntegrationTests): ...
