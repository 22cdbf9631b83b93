"""LangChain's documents and ours, there and back."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

from langchain_core.documents import Document as LangChainDocument
from tercet import Document, Hit
from tercet.errors import InvalidDocument

RELEVANCE_SCORE, RELEVANCE_TRACE = "relevance_score", "relevance_trace"
"""Metadata that a retriever adds. The first is LangChain's convention."""

_TERMS = 10


def to_langchain(document: Document) -> LangChainDocument:
    """Our document as theirs. The metadata are a copy: what a chain writes into them reaches no store."""
    return LangChainDocument(
        page_content=document.text, metadata=copy.deepcopy(document.public_metadata), id=document.id
    )


def found(hit: Hit, *, with_score: bool, with_trace: bool) -> LangChainDocument:
    """A hit as a document whose metadata tell why it is there, in JSON values.

    relevance_score: of the final order
    relevance_trace: {"stages": {"dense": {"rank": 1, "score": 0.83}, …}, "terms": {"keys": 3.1, …}}, the shared terms
        with what each adds to the sparse score, the strongest ten
    """
    document = to_langchain(hit.document)
    if with_score:
        document.metadata[RELEVANCE_SCORE] = float(hit.score)
    if with_trace:
        document.metadata[RELEVANCE_TRACE] = {
            "stages": {place.stage: {"rank": int(place.rank), "score": float(place.score)} for place in hit.stages},
            "terms": {match.term: float(match.contribution) for match in hit.why[:_TERMS]},
        }
    return document


def from_documents(documents: Iterable[LangChainDocument], ids: Iterable[str | None] | None) -> Iterable[Document]:
    """Their documents as ours; `ids` go before the documents' own, and one is derived where there is none.

    A list or tuple is checked as a whole before anything is returned, any other iterable as it is read.
    """
    if isinstance(documents, LangChainDocument):
        raise TypeError("add_documents takes a list of documents, got one Document; put it in a list")
    _check_column("ids", ids, documents)
    converted = _documents(documents, ids)
    return list(converted) if isinstance(documents, list | tuple) else converted


def from_texts(
    texts: Iterable[str], metadatas: Iterable[Mapping[str, Any] | None] | None, ids: Iterable[str | None] | None
) -> Iterable[Document]:
    """Texts with their metadata and ids as our documents; checked as `from_documents`."""
    if isinstance(texts, str):
        raise TypeError("add_texts takes a list of texts, got one str; put it in a list")
    _check_column("metadatas", metadatas, texts)
    _check_column("ids", ids, texts)
    converted = _texts(texts, metadatas, ids)
    return list(converted) if isinstance(texts, list | tuple) else converted


def _documents(documents: Iterable[LangChainDocument], ids: Iterable[str | None] | None) -> Iterator[Document]:
    for position, (document, id_) in enumerate(_beside(documents, ids)):
        if not isinstance(document, LangChainDocument):
            raise TypeError(
                f"add_documents takes Documents of langchain_core, got {type(document).__name__} at position "
                f"{position}; add_texts takes texts"
            )
        yield _document(position, document.page_content, document.metadata, document.id if id_ is None else id_)


def _texts(
    texts: Iterable[str], metadatas: Iterable[Mapping[str, Any] | None] | None, ids: Iterable[str | None] | None
) -> Iterator[Document]:
    described = _beside(_beside(texts, metadatas), ids)
    for position, ((text, metadata), id_) in enumerate(described):
        yield _document(position, text, metadata, id_)


def _document(position: int, text: str, metadata: Mapping[str, Any] | None, id_: str | None) -> Document:
    try:
        return Document(text, "" if id_ is None else id_, {} if metadata is None else metadata)
    except InvalidDocument as error:
        raise InvalidDocument(f"document at position {position}: {error}") from error


def _check_column(name: str, column: object, rows: object) -> None:
    """A mistake in the call itself shows before the first row is read."""
    if isinstance(column, str):
        raise TypeError(f"{name} takes a list, got one str; put it in a list")
    if isinstance(column, Sequence) and isinstance(rows, Sequence) and len(column) != len(rows):
        raise ValueError(f"got {len(column)} {name} for {len(rows)} documents; give one for each, in their order")


def _beside(rows: Iterable[Any], column: Iterable[Any] | None) -> Iterator[tuple[Any, Any]]:
    if column is None:
        return zip(rows, repeat(None), strict=False)
    return zip(rows, column, strict=True)
