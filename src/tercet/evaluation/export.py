"""An index in, files for other engines out: its sparse vectors as Anserini, Elasticsearch and OpenSearch load them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tercet.encoders.base import Encoder, without_dense
from tercet.index import HybridIndex
from tercet.types import SPARSE, Document, SparseVector

Format: TypeAlias = Literal["anserini", "elasticsearch", "opensearch"]

#: Anserini keeps whole numbers; SPLADE's authors and Pyserini multiply by 100 and round.
QUANTIZATION = 100
#: rank_features and sparse_vector take no dots in the names of features. Vocabularies of BERT have none with "․".
_DOT = "\N{ONE DOT LEADER}"


def export_documents(index: HybridIndex, path: str | Path, format: Format, *, name: str = "tercet") -> int:
    """Write every document with its sparse vector; returns how many.

    format: "anserini" is one JSON a line, with whole weights under "vector" (JsonVectorCollection, also Pyserini);
        "elasticsearch" a bulk file for a field "sparse" of the type sparse_vector; "opensearch" one for a field
        "sparse" of the type rank_features
    name: of the index that a bulk file writes to

    Raises:
        ValueError: another format.
    """
    if format not in _DOCUMENTS:
        raise ValueError(f"format must be one of {', '.join(_DOCUMENTS)}, got {format!r}")
    lines = _DOCUMENTS[format]
    encoder = without_dense(index.encoder)
    names = _Names(encoder)
    count = 0
    with Path(path).open("w", encoding="utf-8") as file:
        for stored in index.scroll_vectors([SPARSE]):
            file.writelines(f"{_json(line)}\n" for line in lines(stored.document, names.of(stored.sparse or {}), name))
            count += 1
    return count


def export_queries(
    encoder: Encoder, queries: Mapping[str, str], path: str | Path, format: Format, *, name: str = "tercet"
) -> int:
    """Write queries by id as the same engine asks them; returns how many.

    format: "anserini" is a TSV of id and terms, each repeated as often as its whole weight says (Pyserini with
        --pretokenized --impact); for the other two a JSON a line, {"id": …, "query": …}, whose query is for `_search`

    Raises:
        ValueError: another format.
    """
    if format not in _QUERIES:
        raise ValueError(f"format must be one of {', '.join(_QUERIES)}, got {format!r}")
    encoder = without_dense(encoder)
    names = _Names(encoder)
    texts = list(queries.values())
    with Path(path).open("w", encoding="utf-8") as file:
        for id, embedding in zip(queries, encoder.encode_queries(texts) if texts else [], strict=True):
            file.write(_QUERIES[format](id, names.of(_weights(embedding.sparse))) + "\n")
    return len(texts)


class _Names:
    """The vocabulary's strings, each asked for once."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[int, str] = {}

    def of(self, weights: Mapping[int, float]) -> dict[str, float]:
        if new := [index for index in weights if index not in self._known]:
            self._known.update(zip(new, self._encoder.terms(new), strict=True))
        return {self._known[index]: weight for index, weight in weights.items()}


def _weights(vector: SparseVector) -> dict[int, float]:
    return dict(zip(vector.indices.tolist(), vector.values.tolist(), strict=True))


def whole_weights(weights: Mapping[str, float]) -> dict[str, int]:
    """Times 100 and rounded; what rounds to 0 is left out."""
    rounded = {term: round(QUANTIZATION * weight) for term, weight in weights.items()}
    return {term: weight for term, weight in rounded.items() if weight > 0}


def features(weights: Mapping[str, float]) -> dict[str, float]:
    """With names that Elasticsearch and OpenSearch take: a dot becomes "․", which looks alike."""
    return {term.replace(".", _DOT): round(weight, 5) for term, weight in weights.items()}


def _anserini(document: Document, weights: Mapping[str, float], name: str) -> Iterator[dict[str, Any]]:
    yield {"id": document.id, "contents": document.text, "vector": whole_weights(weights)}


def _bulk(document: Document, weights: Mapping[str, float], name: str) -> Iterator[dict[str, Any]]:
    yield {"index": {"_index": name, "_id": document.id}}
    yield {"text": document.text, "metadata": document.public_metadata, "sparse": features(weights)}


def _anserini_topic(id: str, weights: Mapping[str, float]) -> str:
    return f"{id}\t{' '.join(_repeated(whole_weights(weights)))}"


def _repeated(weights: Mapping[str, int]) -> Iterable[str]:
    return (term for term, weight in weights.items() for _ in range(weight))


def _elasticsearch_query(id: str, weights: Mapping[str, float]) -> str:
    return _json({"id": id, "query": {"sparse_vector": {"field": "sparse", "query_vector": features(weights)}}})


def _opensearch_query(id: str, weights: Mapping[str, float]) -> str:
    return _json({"id": id, "query": {"neural_sparse": {"sparse": {"query_tokens": features(weights)}}}})


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


_DOCUMENTS: dict[str, Callable[[Document, Mapping[str, float], str], Iterator[dict[str, Any]]]] = {
    "anserini": _anserini,
    "elasticsearch": _bulk,
    "opensearch": _bulk,
}
_QUERIES: dict[str, Callable[[str, Mapping[str, float]], str]] = {
    "anserini": _anserini_topic,
    "elasticsearch": _elasticsearch_query,
    "opensearch": _opensearch_query,
}
