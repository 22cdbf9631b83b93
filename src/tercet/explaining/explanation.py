"""One document of one query in, the parts of its score out: stages, terms, tokens, sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tercet.encoders.base import TextTokens, Token, without_dense
from tercet.errors import CollectionMismatch
from tercet.explaining.inquiry import Inquiry, StagePart
from tercet.merging import token_groups
from tercet.types import DENSE, Document, Stored


@dataclass(frozen=True, slots=True)
class TermPart:
    """A vocabulary term that query and document share; the contributions of all of them sum to the sparse score.

    in_query, in_document: it stands in the text; otherwise the model added it, as an expansion
    """

    term: str
    token_id: int
    query_weight: float
    document_weight: float
    in_query: bool
    in_document: bool

    @property
    def contribution(self) -> float:
        return self.query_weight * self.document_weight

    @property
    def expansion(self) -> str:
        """Of what it is an expansion: "", "query", "document" or "both"."""
        return {(True, True): "", (False, True): "query", (True, False): "document", (False, False): "both"}[
            self.in_query, self.in_document
        ]


class Origin(NamedTuple):
    """The tokens whose logits were the greatest for a shared term; None where the encoder cannot tell."""

    query: Token | None
    document: Token | None


@dataclass(frozen=True, slots=True)
class LateMatch:
    """A query token and the document token most similar to it; the contributions of all sum to the late score.

    similarity: cosine of the two
    importance: what the query token counts, 1 on average; 1 for each where the encoder makes no difference
    merged: the document tokens that share one stored row with `document`, where an index merges tokens
        (`StorageOptions.merge_tokens`); the similarity is then that of the row, their mean
    """

    query: Token
    document: Token
    similarity: float
    importance: float = 1.0
    merged: tuple[Token, ...] = ()

    @property
    def contribution(self) -> float:
        return self.similarity * self.importance

    @property
    def special(self) -> bool:
        """The encoder added one of the two to its text."""
        return self.query.special or self.document.special


@dataclass(frozen=True, slots=True)
class Sentence:
    """Evidence for the dense score, and no part of it: the cosine of one sentence alone with the query."""

    text: str
    start: int
    end: int
    cosine: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a document has its score. What is a sum adds up: final = Σ stages, and within a stage Σ parts + residual.

    rank: in the whole final order, from 1, before it is cut to k; None for a document that is not in it
    score: the final one, as a hit has it; 0 without a rank
    stages: what each stage says and gives, in their order

    inquiry, key, stored: what was asked, and the document as the store has it
    grid: (n_query_tokens, n_rows) similarities with what is stored, of which late interaction takes each row's maximum

    `terms` and `matches` read the texts' tokens when they are first asked for, `origins` and `sentences` ask the model,
    as `matches` does where an index merges tokens.
    """

    query: str
    document: Document
    rank: int | None
    score: float
    stages: tuple[StagePart, ...]
    inquiry: Inquiry = field(repr=False)
    key: str = field(repr=False)
    stored: Stored = field(repr=False)
    grid: NDArray[np.float32] = field(repr=False)

    @classmethod
    def of(cls, inquiry: Inquiry, key: str, stored: Stored, shown: Document) -> Explanation:
        """shown: the document as its reader knows it; `stored` may have it under another id"""
        rank, score = inquiry.final(key)
        grid = inquiry.similarities(stored)
        stages = inquiry.stages(key, stored, grid)
        return cls(inquiry.query, shown, rank, score, stages, inquiry, key, stored, grid)

    @property
    def id(self) -> str:
        return self.document.id

    def stage(self, name: str) -> StagePart:
        """Raises KeyError for a stage that takes no part in the plan."""
        for part in self.stages:
            if part.stage == name:
                return part
        raise KeyError(f"the plan has no stage {name!r}, but {', '.join(part.stage for part in self.stages)}")

    @cached_property
    def terms(self) -> tuple[TermPart, ...]:
        """The shared terms, strongest first."""
        weights = self.stored.sparse or {}
        shared = [(index, weight) for index, weight in self.inquiry.weights.items() if index in weights]
        shared.sort(key=lambda pair: (-pair[1] * weights[pair[0]], pair[0]))
        in_query = {token.token_id for token in self.inquiry.tokens.sparse}
        in_document = {token.token_id for token in self.tokens.sparse}
        names = self.inquiry.encoder.terms([index for index, _ in shared])
        return tuple(
            TermPart(name, index, weight, weights[index], index in in_query, index in in_document)
            for name, (index, weight) in zip(names, shared, strict=True)
        )

    @cached_property
    def matches(self) -> tuple[LateMatch, ...]:
        """For each query token, in the query's order, the document token that answers it best."""
        if not self.grid.size:
            return ()
        best = self.grid.argmax(axis=1)
        query, document = self.inquiry.tokens.late, self.tokens.late
        importance = self.inquiry.importance.tolist()
        found = []
        for row, column in enumerate(best.tolist()):
            nearest, *others = self._nearest_first(row, column)
            merged = tuple([document[other] for other in others])
            similarity = float(self.grid[row, column])
            found.append(LateMatch(query[row], document[nearest], similarity, importance[row], merged))
        return tuple(found)

    @cached_property
    def rows(self) -> tuple[tuple[Token, ...], ...]:
        """The document tokens that each stored row stands for: one, or where an index merges tokens several."""
        document = self.tokens.late
        return tuple([tuple([document[position] for position in group]) for group in self._groups])

    def _nearest_first(self, query_row: int, column: int) -> list[int]:
        """The positions of a stored row's tokens, that first which is most like the query token."""
        group = self._groups[column]
        if len(group) == 1:
            return group
        similar = self._token_vectors[group] @ self.inquiry.embedding.multi_vector.vectors[query_row]
        return [group[position] for position in np.argsort(-similar, kind="stable").tolist()]

    @cached_property
    def _groups(self) -> list[list[int]]:
        """The positions of the document tokens behind each stored row; the same merging as when it was stored."""
        if self.inquiry.merge_tokens == 1 or self.stored.late is None:
            return [[position] for position in range(len(self.tokens.late))]
        groups = token_groups(self._token_vectors, self.inquiry.merge_tokens)
        self._check_rows(len(groups))
        return groups

    @cached_property
    def _token_vectors(self) -> NDArray[np.float32]:
        """(n_doc_tokens, dim) before merging, which are stored nowhere: one pass of the model."""
        [embedding] = without_dense(self.inquiry.encoder).encode_documents([self.document.text])
        return embedding.multi_vector.vectors

    @cached_property
    def origins(self) -> Mapping[int, Origin]:
        """Which tokens made each shared term, by vocabulary index. Asks the model once for the document."""
        query = _by_term(self.inquiry.origins, self.inquiry.tokens)
        document = _by_term(self.inquiry.teller.document_origins(self.document.text), self.tokens)
        return {term.token_id: Origin(query.get(term.token_id), document.get(term.token_id)) for term in self.terms}

    @cached_property
    def sentences(self) -> tuple[Sentence, ...]:
        """The document's sentences, nearest to the query first. Asks the model for each of them.

        Empty where the plan searches no dense vectors, or the query's was given and no model is here that made it.
        """
        if all(part.stage != DENSE for part in self.stages) or self.inquiry.dense_given:
            return ()
        spans = list(sentence_spans(self.document.text))
        texts = [self.document.text[start:end] for start, end in spans]
        embeddings = self.inquiry.encoder.encode_documents(texts)
        sentences = [
            Sentence(text, start, end, float(embedding.dense @ self.inquiry.dense / np.linalg.norm(embedding.dense)))
            for text, (start, end), embedding in zip(texts, spans, embeddings, strict=True)
        ]
        return tuple(sorted(sentences, key=lambda sentence: (-sentence.cosine, sentence.start)))

    @cached_property
    def tokens(self) -> TextTokens:
        """Of the document.

        Raises:
            CollectionMismatch: the stored multi-vector is of another text or by another encoder.
        """
        tokens = self.inquiry.teller.document_tokens(self.document.text)
        if self.inquiry.merge_tokens == 1:
            self._check_rows(len(tokens.late))
        return tokens

    def _check_rows(self, expected: int) -> None:
        if self.stored.late is not None and expected != len(self.stored.late):
            raise CollectionMismatch(
                f"document {self.document.id!r} has {len(self.stored.late)} stored token vectors, but its text makes "
                f"{expected} with {self.inquiry.encoder.spec.name!r}; add the document again"
            )

    def to_dict(self, *, ask_model: bool = True) -> dict[str, Any]:
        """Everything as JSON values.

        ask_model: with `origins` and `sentences`, which take some passes of the model; otherwise they are left out
        """
        from tercet.explaining.as_dict import explanation_to_dict

        return explanation_to_dict(self, ask_model=ask_model)

    def to_html(self) -> str:
        """A page for a browser in one file, which loads nothing and runs no script."""
        from tercet.explaining.page import explanation_page

        return explanation_page(self)

    def __str__(self) -> str:
        from tercet.explaining.terminal import as_text

        return as_text(self)


def in_text(text: str, tokens: Sequence[Token], token: Token | None) -> str:
    """A token as its text has it; of a piece of a word the whole word, with the rest of it in brackets."""
    if token is None:
        return "?"
    if token.special:
        return token.text
    pieces = [each for each in tokens if each.word == token.word]
    before = text[pieces[0].start : token.start] if pieces else ""
    after = text[token.end : pieces[-1].end] if pieces else ""
    return "".join((f"[{before}]" if before else "", text[token.start : token.end], f"[{after}]" if after else ""))


def answer_of(explanation: Explanation, match: LateMatch) -> str:
    """The document token of a match as its text has it, with those that its stored row stands for, too."""
    tokens = (match.document, *match.merged)
    return " + ".join(in_text(explanation.document.text, explanation.tokens.sparse, token) for token in tokens)


def _by_term(origins: Mapping[int, int], tokens: TextTokens) -> dict[int, Token]:
    return {term: tokens.sparse[position] for term, position in origins.items()}


_SENTENCE = re.compile(r"\S.*?(?:[.!?…。！？]+[\"'”’)\]]*(?=\s|$)|(?=\n)|$)", re.MULTILINE)


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence or line. An abbreviation's full stop may cut one in two."""
    for found in _SENTENCE.finditer(text):
        yield found.start(), found.end()
