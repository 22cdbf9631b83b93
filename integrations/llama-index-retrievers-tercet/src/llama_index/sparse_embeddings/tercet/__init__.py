"""tercet's SPLADE vectors as a LlamaIndex sparse embed model."""

from llama_index.sparse_embeddings.tercet.base import TercetSparseEmbedding

__all__ = ["TercetSparseEmbedding"]
