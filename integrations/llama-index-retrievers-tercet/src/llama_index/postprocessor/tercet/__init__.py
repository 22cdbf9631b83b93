"""tercet's late interaction as a LlamaIndex reranker."""

from llama_index.postprocessor.tercet.base import TercetRerank

__all__ = ["TercetRerank"]
