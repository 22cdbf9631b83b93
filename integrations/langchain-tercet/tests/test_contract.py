"""The contract that the adapters of all frameworks share, on this vector store; it lies beside the distributions."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document as LangChainDocument
from tercet import Document, HybridIndex

from langchain_tercet import TercetVectorStore

sys.path.insert(0, str(Path(__file__).parents[2]))
pytest.register_assert_rewrite("contract")

from contract import AdapterContract  # noqa: E402


class LangChainAdapter:
    def __init__(self, index: HybridIndex) -> None:
        self.store = TercetVectorStore(index)

    def add(self, documents: Sequence[Document]) -> list[str]:
        return self.store.add_documents(_theirs(documents))

    async def aadd(self, documents: Sequence[Document]) -> list[str]:
        return await self.store.aadd_documents(_theirs(documents))

    def get(self, ids: Sequence[str]) -> list[Document]:
        return _ours(self.store.get_by_ids(ids))

    async def aget(self, ids: Sequence[str]) -> list[Document]:
        return _ours(await self.store.aget_by_ids(ids))

    def delete(self, ids: Sequence[str]) -> None:
        self.store.delete(ids)

    async def adelete(self, ids: Sequence[str]) -> None:
        await self.store.adelete(ids)

    def search(self, query: str, k: int, where: Mapping[str, Any] | None = None) -> list[Document]:
        return _ours(self.store.similarity_search(query, k=k, filter=where))

    async def asearch(self, query: str, k: int, where: Mapping[str, Any] | None = None) -> list[Document]:
        return _ours(await self.store.asimilarity_search(query, k=k, filter=where))


def _theirs(documents: Sequence[Document]) -> list[LangChainDocument]:
    return [
        LangChainDocument(document.text, id=document.id, metadata=dict(document.metadata)) for document in documents
    ]


def _ours(documents: Sequence[LangChainDocument]) -> list[Document]:
    return [Document(document.page_content, document.id or "", document.metadata) for document in documents]


class TestLangChain(AdapterContract):
    def adapter_over(self, index: HybridIndex) -> LangChainAdapter:
        return LangChainAdapter(index)
