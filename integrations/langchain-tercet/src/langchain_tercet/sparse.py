"""Our SPLADE head inside a plain QdrantVectorStore, for collections that stay langchain-qdrant's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tercet.encoders.base import Encoder
from tercet.types import SparseVector as TercetSparseVector

from langchain_tercet.embeddings import default_encoder

if TYPE_CHECKING:
    from langchain_qdrant import SparseEmbeddings, SparseVector
else:
    try:
        from langchain_qdrant import SparseEmbeddings, SparseVector
    except ImportError:
        # The class is there without the extra, so that `import *` works; its constructor tells what is missing.
        SparseEmbeddings, SparseVector = object, None


class TercetSparseEmbeddings(SparseEmbeddings):
    """SPLADE for `QdrantVectorStore(sparse_embedding=…)`, with expansion, where FastEmbedSparse's default has none.

    Setup:
        ```bash
        pip install -U 'langchain-tercet[qdrant]'
        ```

    Args:
        encoder: the shipped tercet-mini where none is given

    Raises:
        ImportError: langchain-qdrant is not installed.
    """

    def __init__(self, encoder: Encoder | None = None) -> None:
        if SparseVector is None:
            raise ImportError(
                "TercetSparseEmbeddings needs langchain-qdrant; run: pip install 'langchain-tercet[qdrant]'"
            )
        self.encoder = encoder or default_encoder()

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        return [_sparse_vector(embedding.sparse) for embedding in self.encoder.encode_documents(texts)]

    def embed_query(self, text: str) -> SparseVector:
        """Raises ValueError for an empty query."""
        return _sparse_vector(self.encoder.encode_query(text).sparse)

    def __repr__(self) -> str:
        return f"TercetSparseEmbeddings({self.encoder!r})"


def _sparse_vector(vector: TercetSparseVector) -> SparseVector:
    return SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
