"""tercet in LlamaIndex: a hybrid retriever whose nodes say why they are there."""

from llama_index.retrievers.tercet.base import TercetRetriever
from llama_index.retrievers.tercet.nodes import ExplainedNode

__all__ = ["ExplainedNode", "TercetRetriever"]
