"""The contract that the adapters of all frameworks share, for a store that is written and a retriever that is asked."""

from collections.abc import Mapping, Sequence
from typing import Any

from contract import AdapterContract
from llama_index.core.schema import BaseNode, NodeWithScore, TextNode

from llama_index.retrievers.tercet import TercetRetriever
from llama_index.vector_stores.tercet import TercetVectorStore
from tercet import Document, HybridIndex


class LlamaIndexAdapter:
    def __init__(self, index: HybridIndex) -> None:
        self.index = index
        self.store = TercetVectorStore(index)

    def add(self, documents: Sequence[Document]) -> list[str]:
        return self.store.add(_nodes(documents))

    async def aadd(self, documents: Sequence[Document]) -> list[str]:
        return await self.store.async_add(_nodes(documents))

    def get(self, ids: Sequence[str]) -> list[Document]:
        return _documents(self.store.get_nodes(list(ids)))

    async def aget(self, ids: Sequence[str]) -> list[Document]:
        return _documents(await self.store.aget_nodes(list(ids)))

    def delete(self, ids: Sequence[str]) -> None:
        self.store.delete_nodes(list(ids))

    async def adelete(self, ids: Sequence[str]) -> None:
        await self.store.adelete_nodes(list(ids))

    def search(self, query: str, k: int, where: Mapping[str, Any] | None = None) -> list[Document]:
        return _found(TercetRetriever(self.index, similarity_top_k=k, filters=where).retrieve(query))

    async def asearch(self, query: str, k: int, where: Mapping[str, Any] | None = None) -> list[Document]:
        return _found(await TercetRetriever(self.index, similarity_top_k=k, filters=where).aretrieve(query))


def _nodes(documents: Sequence[Document]) -> list[BaseNode]:
    return [TextNode(text=document.text, id_=document.id, metadata=dict(document.metadata)) for document in documents]


def _documents(nodes: Sequence[BaseNode]) -> list[Document]:
    return [Document(node.get_content(), node.node_id, node.metadata) for node in nodes]


def _found(nodes: Sequence[NodeWithScore]) -> list[Document]:
    return _documents([found.node for found in nodes])


class TestLlamaIndex(AdapterContract):
    def adapter_over(self, index: HybridIndex) -> LlamaIndexAdapter:
        return LlamaIndexAdapter(index)
