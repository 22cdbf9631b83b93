"""Three sentence-transformers checkpoints as one encoder: folders or hub names in, embeddings out.

Needs tercet[models].
For a user's own models, or ones larger than tercet-mini: any `SentenceTransformer` for the dense vector, any
`SparseEncoder` (SPLADE) and any `MultiVectorEncoder` (ColBERT: its own, PyLate's and Stanford's folders).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tercet.encoders.base import EncoderSpec, TextTokens
from tercet.encoders.composed_tokens import late_tokens, sparse_origins, sparse_tokens
from tercet.errors import MissingExtra
from tercet.types import Embedding, MultiVector, SparseVector

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder

#: Documents that are encoded together; the models sort them by length.
WINDOW = 64


class ComposedEncoder:
    """Dense, sparse and multi-vector of a text from three models, one pass each.

    Give loaded models, or use `ComposedEncoder.load` with names. The prompts are the models' own.
    """

    def __init__(self, dense: SentenceTransformer, sparse: SparseEncoder, late: MultiVectorEncoder) -> None:
        self._dense, self._sparse, self._late = dense, sparse, late
        probe = self._embeddings(["a"], query=False)[0]
        vocabulary_size = sparse.get_embedding_dimension()
        if vocabulary_size is None:
            raise ValueError("the sparse model does not tell the size of its vocabulary; is it a SparseEncoder?")
        self._spec = EncoderSpec(
            name="composed of three models",
            fingerprint=_fingerprint(dense, sparse, late),
            dense_dim=len(probe.dense),
            late_dim=probe.multi_vector.vectors.shape[1],
            vocabulary_size=vocabulary_size,
        )

    @classmethod
    def load(cls, *, dense: str, sparse: str, late: str, device: str | None = None) -> ComposedEncoder:
        """Load three checkpoints by hub name or folder. Only safetensors weights, and no code that comes with a model.

        Raises:
            MissingExtra: sentence-transformers is not installed.
        """
        try:
            from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder
        except ImportError as error:
            raise MissingExtra("ComposedEncoder", "models") from error
        # safetensors alone: a pickled checkpoint runs whatever code its author put there.
        options: dict[str, Any] = {
            "device": device,
            "trust_remote_code": False,
            "model_kwargs": {"use_safetensors": True},
        }
        return cls(
            SentenceTransformer(dense, **options),
            SparseEncoder(sparse, **options),
            MultiVectorEncoder(late, **options),
        )

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    def encode_query(self, query: str) -> Embedding:
        if not query.strip():
            raise ValueError("the query is empty; ask for at least one word")
        return self._embeddings([query], query=True)[0]

    def encode_queries(self, queries: Sequence[str]) -> list[Embedding]:
        return [self.encode_query(query) for query in queries]

    def encode_documents(self, documents: Iterable[str]) -> Iterator[Embedding]:
        stream = iter(documents)
        while window := list(itertools.islice(stream, WINDOW)):
            yield from self._embeddings(window, query=False)

    def terms(self, indices: Iterable[int]) -> list[str]:
        tokens: list[str] = self._sparse.tokenizer.convert_ids_to_tokens([int(index) for index in indices])
        return tokens

    # --- where the numbers come from: implements tercet.encoders.base.Explainable, as far as the models tell ---

    def query_tokens(self, query: str) -> TextTokens:
        return TextTokens(sparse_tokens(self._sparse, query, "query"), late_tokens(self._late, query, "query"))

    def document_tokens(self, document: str) -> TextTokens:
        sparse = sparse_tokens(self._sparse, document, "document")
        return TextTokens(sparse, late_tokens(self._late, document, "document"))

    def query_origins(self, query: str) -> Mapping[int, int]:
        return sparse_origins(self._sparse, query, "query")

    def document_origins(self, document: str) -> Mapping[int, int]:
        return sparse_origins(self._sparse, document, "document")

    def __repr__(self) -> str:
        return f"ComposedEncoder({self.spec.fingerprint[:8]})"

    def _embeddings(self, texts: list[str], *, query: bool) -> list[Embedding]:
        method = "encode_query" if query else "encode_document"
        quiet = {"show_progress_bar": False}
        dense = getattr(self._dense, method)(texts, convert_to_numpy=True, normalize_embeddings=True, **quiet)
        sparse = getattr(self._sparse, method)(texts, convert_to_sparse_tensor=False, save_to_cpu=True, **quiet)
        late = getattr(self._late, method)(texts, convert_to_numpy=True, **quiet)
        truncated = [False] * len(texts) if query else self._truncated(texts)
        return [
            Embedding(np.asarray(row, np.float32), _sparse_vector(weights.float().numpy()), _unit_rows(tokens), cut)
            for row, weights, tokens, cut in zip(dense, sparse, late, truncated, strict=True)
        ]

    def _truncated(self, texts: list[str]) -> list[bool]:
        """Whether a text is longer than any of the three models reads."""
        cut = [False] * len(texts)
        for model in (self._dense, self._sparse, self._late):
            limit = model.max_seq_length
            if limit is not None:
                lengths = [len(ids) for ids in model.tokenizer(texts, truncation=False, verbose=False)["input_ids"]]
                cut = [before or length > limit for before, length in zip(cut, lengths, strict=True)]
        return cut


def _sparse_vector(weights: NDArray[np.float32]) -> SparseVector:
    indices = np.flatnonzero(weights > 0)
    return SparseVector(indices, weights[indices])


def _unit_rows(tokens: Any) -> MultiVector:  # noqa: ANN401 (an array or a tensor, by model)
    rows = np.asarray(tokens, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # Query augmentation may leave rows of zeros, which match nothing and have no direction.
    return MultiVector((rows / np.maximum(lengths, 1e-12))[lengths[:, 0] > 1e-6])


def _fingerprint(*models: Any) -> str:  # noqa: ANN401 (three classes without a common typed base)
    """Over all weights and prompts: the same folder under another name is the same encoder."""
    digest = hashlib.sha256()
    for model in models:
        digest.update(repr((sorted(model.prompts.items()), model.max_seq_length)).encode())
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:32]
