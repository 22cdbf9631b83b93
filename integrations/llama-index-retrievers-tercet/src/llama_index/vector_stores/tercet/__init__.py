"""tercet as a LlamaIndex vector store."""

from llama_index.vector_stores.tercet.base import TercetVectorStore

__all__ = ["TercetVectorStore"]
