"""tercet's dense vectors as a LlamaIndex embed model, and another embed model's inside tercet."""

from llama_index.embeddings.tercet.base import TercetEmbedding
from llama_index.embeddings.tercet.own import encoder_with

__all__ = ["TercetEmbedding", "encoder_with"]
