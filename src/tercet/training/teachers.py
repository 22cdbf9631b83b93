"""Teachers: (query, document) pairs in, scores out. Any model of sentence-transformers, or the sum of our own heads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from tercet.checkpoint import CONFIG_FILE
from tercet.errors import CheckpointError
from tercet.training.data import Example
from tercet.training.model import ThreeHeads
from tercet.training.plan import DEFAULT_SCALES, HEADS

TeacherKind = Literal["heads", "dense", "sparse", "late", "cross-encoder"]

#: Pairs that are scored at once. A bi-encoder encodes each text of such a block once.
BLOCK = 1024


class Teacher(Protocol):
    """Whoever can say how well a document answers a query. Only differences between scores of one query count."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Score (query, document) pairs: (n_pairs,)."""
        ...


class EncoderTeacher:
    """A SentenceTransformer, SparseEncoder or MultiVectorEncoder, by its own similarity."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 one of three unrelated classes
        self._model = model

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        return _in_blocks(pairs, self._score)

    def _score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        queries, documents = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
        query_vectors = self._model.encode_query(queries, convert_to_tensor=True, show_progress_bar=False)
        document_vectors = self._model.encode_document(documents, convert_to_tensor=True, show_progress_bar=False)
        if getattr(document_vectors, "layout", torch.strided) != torch.strided:
            # Rows of sparse tensors cannot be picked; a block of them is small enough.
            query_vectors, document_vectors = query_vectors.to_dense(), document_vectors.to_dense()
        query_at = {text: position for position, text in enumerate(queries)}
        document_at = {text: position for position, text in enumerate(documents)}
        # One query at a time: its pairs only, not all documents of the block.
        scores = np.zeros(len(pairs), np.float32)
        by_query: dict[str, list[int]] = {}
        for position, (query, _) in enumerate(pairs):
            by_query.setdefault(query, []).append(position)
        for query, positions in by_query.items():
            at = query_at[query]
            chosen = [document_at[pairs[position][1]] for position in positions]
            others = (
                [document_vectors[column] for column in chosen]
                if isinstance(document_vectors, list)
                else document_vectors.index_select(0, torch.tensor(chosen, device=document_vectors.device))
            )
            scores[positions] = self._model.similarity(query_vectors[at : at + 1], others)[0].float().cpu().numpy()
        return scores


class CrossEncoderTeacher:
    """A CrossEncoder's logits, which keep the gaps that a sigmoid would press together."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 sentence-transformers' CrossEncoder
        self._model = model

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        scores = self._model.predict(list(pairs), activation_fn=torch.nn.Identity(), show_progress_bar=False)
        if scores.ndim != 1:
            raise CheckpointError(
                f"the cross-encoder gives {scores.shape[1]} numbers for each pair, a teacher gives one; "
                f"is it a classifier instead of a reranker?"
            )
        return np.asarray(scores, np.float32)


class HeadsTeacher:
    """The weighted sum of our own heads' scores: what three views agree on teaches each of them (BGE-M3).

    weights: by head, 0 leaves one out; scales bring the heads to one size, see `tercet.training.plan`
    """

    def __init__(
        self,
        model: ThreeHeads,
        *,
        weights: Mapping[str, float] | None = None,
        scales: Mapping[str, float] = DEFAULT_SCALES,
    ) -> None:
        self._model = model
        self._weights: dict[str, float] = {head: (weights or {}).get(head, 1.0) for head in HEADS}
        self._scales = scales

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        return _in_blocks(pairs, self._score, size=64)

    @torch.inference_mode()
    def _score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        model, heads = self._model, [head for head in HEADS if self._weights[head]]
        queries, documents = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
        config = model.config
        asked = model.read(queries, side="query", max_tokens=config.max_query_tokens)
        held = model.read(documents, side="document", max_tokens=config.max_document_tokens)
        scores = model(model.batch(asked, range(len(queries))), side="query", heads=heads).scores(
            model(model.batch(held, range(len(documents))), side="document", heads=heads)
        )
        total = sum(self._weights[head] * self._scales[head] * matrix for head, matrix in scores.items())
        rows = [queries.index(query) for query, _ in pairs]
        columns = [documents.index(document) for _, document in pairs]
        result: NDArray[np.float32] = torch.as_tensor(total)[rows, columns].cpu().numpy()
        return result


def load_teacher(model: str | Path, *, kind: TeacherKind | None = None, device: str | None = None) -> Teacher:
    """Open a teacher by folder or name: safetensors only, no code from the folder.

    kind: None reads it from a folder; a name on a hub needs it said

    Raises:
        CheckpointError: the kind cannot be told, or the model cannot be opened.
    """
    kind = kind or _kind(model)
    if kind not in get_args(TeacherKind):
        raise ValueError(f"kind must be one of {', '.join(get_args(TeacherKind))}, got {kind!r}")
    if kind == "heads":
        return HeadsTeacher(ThreeHeads.open(model))
    import sentence_transformers

    classes = {
        "dense": "SentenceTransformer",
        "sparse": "SparseEncoder",
        "late": "MultiVectorEncoder",
        "cross-encoder": "CrossEncoder",
    }
    try:
        opened = getattr(sentence_transformers, classes[kind])(
            str(model), device=device, trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"the teacher {str(model)!r} cannot be opened as {classes[kind]}: {error}") from error
    return CrossEncoderTeacher(opened) if kind == "cross-encoder" else EncoderTeacher(opened)


def _kind(model: str | Path) -> TeacherKind:
    folder = Path(model)
    if str(model) == "tercet-mini" or (folder / CONFIG_FILE).is_file():
        return "heads"
    if not folder.is_dir():
        raise CheckpointError(
            f"there is no folder {str(model)!r}; for a model on a hub say its kind: {', '.join(get_args(TeacherKind))}"
        )

    def read(name: str) -> dict[str, Any]:
        path = folder / name
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

    kinds: dict[str, TeacherKind] = {
        "SentenceTransformer": "dense",
        "SparseEncoder": "sparse",
        "MultiVectorEncoder": "late",
        "ColBERT": "late",
        "CrossEncoder": "cross-encoder",
    }
    if (found := read("config_sentence_transformers.json").get("model_type")) in kinds:
        return kinds[str(found)]
    architectures = read("config.json").get("architectures") or [""]
    return "cross-encoder" if architectures[0].endswith("ForSequenceClassification") else "dense"


def label(examples: Sequence[Example], teacher: Teacher) -> list[Example]:
    """The same examples with the teacher's scores of the positive and each negative."""
    pairs = [(example.query, text) for example in examples for text in (example.positive, *example.negatives)]
    scores = iter(teacher.score(pairs).tolist())
    return [
        dataclasses.replace(example, scores=tuple(next(scores) for _ in range(1 + len(example.negatives))))
        for example in examples
    ]


def _in_blocks(pairs: Sequence[tuple[str, str]], score: Any, *, size: int = BLOCK) -> NDArray[np.float32]:  # noqa: ANN401
    blocks = [score(pairs[start : start + size]) for start in range(0, len(pairs), size)]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
