"""A text in, its words with their weights out: what a sparse vector makes of a text, readable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tercet.encoders.base import Encoder, TextTokens, Token, explainable


@dataclass(frozen=True, slots=True)
class WordImpact:
    """A word of a text, or an expansion, with its weight in the sparse vector.

    word: as the text has it, in lower case; of an expansion the vocabulary's term
    weight: the sum over its pieces; the impacts of a text sum to all of its sparse weights
    pieces: the vocabulary's terms that make it, with their weights
    spans: start and end of each occurrence in the text; of an expansion, of the word that brought it in, if it is known
    """

    word: str
    weight: float
    expansion: bool
    pieces: tuple[tuple[str, float], ...]
    spans: tuple[tuple[int, int], ...]


def word_impacts(encoder: Encoder, text: str, *, query: bool = False) -> list[WordImpact]:
    """A text's lexical fingerprint, heaviest first: word pieces joined to words, expansions marked.

    A piece that two words share counts for the word whose token made its weight. Costs two passes of the model.

    query: read the text as queries are read

    Raises:
        ValueError: the query is empty.
        TypeError: the encoder does not tell its tokens.
    """
    teller = explainable(encoder)
    if query:
        embedding, tokens, origins = encoder.encode_query(text), teller.query_tokens(text), teller.query_origins(text)
    else:
        [embedding] = encoder.encode_documents([text])
        tokens, origins = teller.document_tokens(text), teller.document_origins(text)
    weights = dict(zip(embedding.sparse.indices.tolist(), embedding.sparse.values.tolist(), strict=True))
    return impacts(encoder, text, tokens, weights, origins)


def impacts(
    encoder: Encoder, text: str, tokens: TextTokens, weights: Mapping[int, float], origins: Mapping[int, int]
) -> list[WordImpact]:
    """`word_impacts` from what is known of the text already; `weights` is its sparse vector by vocabulary index."""
    words = _words(text, tokens.sparse)
    holder: dict[int, str] = {}  # which word a term's weight counts for
    for word, occurrences in words.items():
        for token in occurrences[0]:
            holder.setdefault(token.token_id, word)
    of_word = {token.word: word for word, occurrences in words.items() for pieces in occurrences for token in pieces}
    for term, position in origins.items():
        token = tokens.sparse[position]
        if term in holder and token.token_id == term and token.word in of_word:
            holder[term] = of_word[token.word]
    pieces: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    found: list[WordImpact] = []
    for (term, weight), name in zip(weights.items(), encoder.terms(weights), strict=True):
        if term in holder:
            pieces[holder[term]].append((name, weight))
        else:
            brought_by = [tokens.sparse[origins[term]]] if term in origins else []
            spans = tuple(span for token in brought_by for span in _spans(words, of_word.get(token.word)))
            found.append(WordImpact(name, weight, True, ((name, weight),), spans))
    for word, parts in pieces.items():
        found.append(WordImpact(word, sum(weight for _, weight in parts), False, tuple(parts), _spans(words, word)))
    return sorted(found, key=lambda impact: (-impact.weight, impact.word))


def _words(text: str, tokens: Sequence[Token]) -> dict[str, list[list[Token]]]:
    """By word in lower case the tokens of each occurrence, in the order of the text."""
    by_number: defaultdict[int, list[Token]] = defaultdict(list)
    for token in tokens:
        if not token.special:
            by_number[token.word].append(token)
    words: defaultdict[str, list[list[Token]]] = defaultdict(list)
    for pieces in by_number.values():
        words[text[pieces[0].start : pieces[-1].end].strip().lower()].append(pieces)
    return words


def _spans(words: Mapping[str, Sequence[Sequence[Token]]], word: str | None) -> tuple[tuple[int, int], ...]:
    if word is None:
        return ()
    return tuple((pieces[0].start, pieces[-1].end) for pieces in words[word])
