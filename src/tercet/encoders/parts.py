"""One head of a composed encoder: texts in, its vectors, tokens and identity out, whatever library runs the model.

A model is sentence-transformers' or a checkpoint of ours. Nothing here imports torch; only its models do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tercet.encoders.base import TextTokens, Token
from tercet.encoders.composed_tokens import late_tokens, sparse_origins, sparse_tokens
from tercet.encoders.mini import HeadVectors, MiniEncoder
from tercet.errors import CheckpointError
from tercet.types import MultiVector, SparseVector

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder

Dense = NDArray[np.float32]
Vector = TypeVar("Vector")

_QUIET = {"show_progress_bar": False}


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Texts on their way through the parts. A checkpoint that gives two of the heads runs once for both."""

    texts: list[str]
    query: bool
    _passes: dict[int, list[HeadVectors]] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return "query" if self.query else "document"

    def through(self, encoder: MiniEncoder) -> list[HeadVectors]:
        if id(encoder) not in self._passes:
            run = map(encoder.query_vectors, self.texts) if self.query else encoder.document_vectors(self.texts)
            self._passes[id(encoder)] = list(run)
        return self._passes[id(encoder)]


class Part(Protocol[Vector]):
    """What makes one of the three representations."""

    def encode(self, texts: Texts) -> list[tuple[Vector, bool]]:
        """For each text its vector, and whether it was longer than the model reads."""
        ...

    def identity(self) -> Iterator[bytes]:
        """What shapes the vectors: weights, prompts, limits."""
        ...


class SparsePart(Part[SparseVector], Protocol):
    """A part that also tells its vocabulary, and where its terms come from."""

    @property
    def vocabulary_size(self) -> int: ...

    def terms(self, indices: Iterable[int]) -> list[str]: ...

    def tokens(self, text: str, task: str) -> tuple[Token, ...]: ...

    def origins(self, text: str, task: str) -> Mapping[int, int]: ...


class LatePart(Part[MultiVector], Protocol):
    """A part that also tells which token each of its rows stands for."""

    def tokens(self, text: str, task: str) -> tuple[Token, ...]: ...


# --- sentence-transformers ---


class _Model:
    """What its three kinds of models share."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 three classes without a common typed base
        self.model = model

    def identity(self) -> Iterator[bytes]:
        """Over all weights and prompts: the same folder under another name is the same encoder."""
        yield repr((sorted(self.model.prompts.items()), self.model.max_seq_length)).encode()
        for name, tensor in sorted(self.model.state_dict().items()):
            yield name.encode()
            yield tensor.detach().cpu().float().numpy().tobytes()

    def run(self, texts: Texts, **options: Any) -> Any:  # noqa: ANN401 arrays or tensors, by model
        encode = self.model.encode_query if texts.query else self.model.encode_document
        return encode(texts.texts, **options, **_QUIET)

    def truncated(self, texts: Texts) -> list[bool]:
        limit = self.model.max_seq_length
        if texts.query or limit is None:
            return [False] * len(texts.texts)
        ids = self.model.tokenizer(texts.texts, truncation=False, verbose=False)["input_ids"]
        return [len(each) > limit for each in ids]


class DenseModel(_Model):
    """A SentenceTransformer."""

    def encode(self, texts: Texts) -> list[tuple[Dense, bool]]:
        rows = self.run(texts, convert_to_numpy=True, normalize_embeddings=True)
        return [(np.asarray(row, np.float32), cut) for row, cut in zip(rows, self.truncated(texts), strict=True)]


class SparseModel(_Model):
    """A SparseEncoder."""

    @property
    def vocabulary_size(self) -> int:
        size = self.model.get_embedding_dimension()
        if size is None:
            raise ValueError("the sparse model does not tell the size of its vocabulary; is it a SparseEncoder?")
        return int(size)

    def encode(self, texts: Texts) -> list[tuple[SparseVector, bool]]:
        rows = self.run(texts, convert_to_sparse_tensor=False, save_to_cpu=True)
        cuts = self.truncated(texts)
        return [(_sparse_vector(row.float().numpy()), cut) for row, cut in zip(rows, cuts, strict=True)]

    def terms(self, indices: Iterable[int]) -> list[str]:
        tokens: list[str] = self.model.tokenizer.convert_ids_to_tokens([int(index) for index in indices])
        return tokens

    def tokens(self, text: str, task: str) -> tuple[Token, ...]:
        return sparse_tokens(self.model, text, task)

    def origins(self, text: str, task: str) -> Mapping[int, int]:
        return sparse_origins(self.model, text, task)


class LateModel(_Model):
    """A MultiVectorEncoder."""

    def encode(self, texts: Texts) -> list[tuple[MultiVector, bool]]:
        rows = self.run(texts, convert_to_numpy=True)
        return [(_unit_rows(tokens), cut) for tokens, cut in zip(rows, self.truncated(texts), strict=True)]

    def tokens(self, text: str, task: str) -> tuple[Token, ...]:
        return late_tokens(self.model, text, task)


# --- checkpoints of ours ---


class _Checkpoint(Generic[Vector]):
    """One head of a MiniEncoder.

    Raises:
        CheckpointError: its checkpoint does not hold that head.
    """

    head: str
    vector: str  # of HeadVectors

    def __init__(self, encoder: MiniEncoder) -> None:
        if self.head not in encoder.config.heads:
            raise CheckpointError(
                f"{encoder.checkpoint.folder} holds {' and '.join(encoder.config.heads)}, no {self.head} head; "
                f"name another model for {self.head}="
            )
        self.encoder = encoder

    def identity(self) -> Iterator[bytes]:
        yield f"{self.head} {self.encoder.config.fingerprint(self.encoder.precision)}".encode()

    def encode(self, texts: Texts) -> list[tuple[Vector, bool]]:
        return [(getattr(vectors, self.vector), vectors.truncated) for vectors in texts.through(self.encoder)]


class DenseCheckpoint(_Checkpoint[Dense]):
    """The dense head of a checkpoint."""

    head = vector = "dense"


class SparseCheckpoint(_Checkpoint[SparseVector]):
    """The sparse head of a checkpoint."""

    head = vector = "sparse"

    @property
    def vocabulary_size(self) -> int:
        return self.encoder.config.vocabulary_size

    def terms(self, indices: Iterable[int]) -> list[str]:
        return self.encoder.terms(indices)

    def tokens(self, text: str, task: str) -> tuple[Token, ...]:
        return _told(self.encoder, text, task).sparse

    def origins(self, text: str, task: str) -> Mapping[int, int]:
        return self.encoder.query_origins(text) if task == "query" else self.encoder.document_origins(text)


class LateCheckpoint(_Checkpoint[MultiVector]):
    """The late head of a checkpoint."""

    head, vector = "late", "multi_vector"

    def tokens(self, text: str, task: str) -> tuple[Token, ...]:
        return _told(self.encoder, text, task).late


def dense_part(model: SentenceTransformer | MiniEncoder) -> Part[Dense]:
    return DenseCheckpoint(model) if isinstance(model, MiniEncoder) else DenseModel(model)


def sparse_part(model: SparseEncoder | MiniEncoder) -> SparsePart:
    return SparseCheckpoint(model) if isinstance(model, MiniEncoder) else SparseModel(model)


def late_part(model: MultiVectorEncoder | MiniEncoder) -> LatePart:
    return LateCheckpoint(model) if isinstance(model, MiniEncoder) else LateModel(model)


def fingerprint(parts: Sequence[Part[Any]]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for shaping in part.identity():
            digest.update(shaping)
    return digest.hexdigest()[:32]


def _told(encoder: MiniEncoder, text: str, task: str) -> TextTokens:
    return encoder.query_tokens(text) if task == "query" else encoder.document_tokens(text)


def _sparse_vector(weights: NDArray[np.float32]) -> SparseVector:
    indices = np.flatnonzero(weights > 0)
    return SparseVector(indices, weights[indices])


def _unit_rows(tokens: Any) -> MultiVector:  # noqa: ANN401 (an array or a tensor, by model)
    rows = np.asarray(tokens, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # Query augmentation may leave rows of zeros, which match nothing and have no direction.
    return MultiVector((rows / np.maximum(lengths, 1e-12))[lengths[:, 0] > 1e-6])
