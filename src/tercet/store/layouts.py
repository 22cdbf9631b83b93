"""How a Qdrant collection keeps documents: tercet's own layout, and those of two programs whose collections it joins.

Where another program made the collection, its dense vectors, ids and payload stay as they are. What tercet adds lies
beside them: two vectors under names of their own, and the payload's entry "tercet" (see `tercet.store.payload`).
"""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

from tercet.errors import StoreError
from tercet.store.payload import DOCUMENT_ID, own_entry, payload_field, point_id
from tercet.types import DENSE, FRAMEWORK_KEY, LATE, SPARSE, Document, Record

LayoutName: TypeAlias = Literal["tercet", "langchain", "llama-index"]

Payload: TypeAlias = Mapping[str, Any]


class Layout(ABC):
    """vectors: the name of each stage's vector in the collection."""

    name: ClassVar[LayoutName]
    vectors: Mapping[str, str]

    @abstractmethod
    def point_id(self, document_id: str) -> str:
        """The id under which the engine keeps a document."""

    @abstractmethod
    def document_id(self, payload: Payload | None, point_id: object) -> str: ...

    def content_hash(self, payload: Payload | None) -> str:
        """`Record.content_hash`; of a document that tercet has not seen, one that equals no document's."""
        return str((payload or {}).get("tercet", {}).get("hash", ""))

    @abstractmethod
    def payload_of(self, record: Record, fingerprint: str) -> dict[str, Any]:
        """What the engine keeps beside the vectors."""

    @abstractmethod
    def document_of(self, payload: Payload | None, point_id: object) -> Document:
        """The document that was kept; raises StoreError if this layout's program did not write it."""


class TercetLayout(Layout):
    """{"text": …, "metadata": …, "tercet": …}, under ids made from the documents' own."""

    name = "tercet"

    def __init__(self) -> None:
        self.vectors = {DENSE: DENSE, SPARSE: SPARSE, LATE: LATE}

    def point_id(self, document_id: str) -> str:
        return point_id(document_id)

    def document_id(self, payload: Payload | None, point_id: object) -> str:
        return str(payload_field(payload, DOCUMENT_ID))

    def payload_of(self, record: Record, fingerprint: str) -> dict[str, Any]:
        document = record.document
        return {"text": document.text, "metadata": document.metadata, "tercet": own_entry(record, fingerprint)}

    def document_of(self, payload: Payload | None, point_id: object) -> Document:
        return Document.unchecked(
            payload_field(payload, "text"), payload_field(payload, DOCUMENT_ID), payload_field(payload, "metadata")
        )


class JoinedLayout(Layout):
    """Of another program's collection: a point's id is its document's; from an id that is no UUID one is made."""

    def __init__(self, *, dense: str) -> None:
        self.vectors = {DENSE: dense, SPARSE: "tercet-sparse", LATE: "tercet-late"}

    def point_id(self, document_id: str) -> str:
        try:
            return str(uuid.UUID(document_id))
        except ValueError:
            return point_id(document_id)

    def document_id(self, payload: Payload | None, point_id: object) -> str:
        kept = (payload or {}).get("tercet", {}).get("id")
        return str(point_id if kept is None else kept)


class LangChainLayout(JoinedLayout):
    """{"page_content": …, "metadata": …}, as langchain-qdrant writes."""

    name = "langchain"

    def payload_of(self, record: Record, fingerprint: str) -> dict[str, Any]:
        document = record.document
        return {"page_content": document.text, "metadata": document.metadata, "tercet": own_entry(record, fingerprint)}

    def document_of(self, payload: Payload | None, point_id: object) -> Document:
        text = (payload or {}).get("page_content")
        if not isinstance(text, str):
            raise _foreign("page_content", point_id, self.name)
        return Document.unchecked(text, self.document_id(payload, point_id), (payload or {}).get("metadata") or {})


class LlamaIndexLayout(JoinedLayout):
    """A node as JSON under "_node_content" and its metadata beside it, as llama-index-vector-stores-qdrant writes.

    What a document has no place for comes as metadata[FRAMEWORK_KEY] = {"node": the rest of the node as JSON text,
    "ref_doc_id": the document that it was cut from}, which is what llama-index-retrievers-tercet keeps: as one text, a
    node's relationships and offsets fill no keyword index and no range index.
    """

    name = "llama-index"

    _OWN = frozenset({"_node_content", "_node_type", "doc_id", "document_id", "ref_doc_id", "tercet"})

    def payload_of(self, record: Record, fingerprint: str) -> dict[str, Any]:
        document = record.document
        metadata = document.public_metadata
        node = _kept_node(document) | {"id_": document.id, "text": document.text, "metadata": metadata}
        if "text_resource" in node or node.get("class_name") == "Node":
            node["text_resource"] = {**(node.get("text_resource") or {}), "text": document.text}
        source = _source_of(node) or "None"
        return {
            **{key: value for key, value in metadata.items() if key not in self._OWN},
            "_node_content": json.dumps(node, ensure_ascii=False),
            "_node_type": str(node.get("class_name", "TextNode")),
            "doc_id": source,
            "document_id": source,
            "ref_doc_id": source,
            "tercet": own_entry(record, fingerprint),
        }

    def document_of(self, payload: Payload | None, point_id: object) -> Document:
        try:
            node = json.loads((payload or {})["_node_content"])
        except (LookupError, TypeError, ValueError):
            raise _foreign("_node_content", point_id, self.name) from None
        text = node.pop("text", None) or (node.get("text_resource") or {}).get("text", "")
        if not isinstance(text, str):
            raise _foreign("text", point_id, self.name)
        if isinstance(resource := node.get("text_resource"), dict):
            resource.pop("text", None)
        node.pop("embedding", None)
        # Beside the node stands its metadata, and that is what the program's own filters ask.
        metadata = {key: value for key, value in (payload or {}).items() if key not in self._OWN}
        node.pop("metadata", None)
        kept = {"node": json.dumps(node, ensure_ascii=False)}
        if source := _source_of(node):
            kept["ref_doc_id"] = source
        return Document.unchecked(text, self.document_id(payload, point_id), {**metadata, FRAMEWORK_KEY: kept})


def _kept_node(document: Document) -> dict[str, Any]:
    """What an integration keeps of a node; nothing of a document that it did not write."""
    kept = document.metadata.get(FRAMEWORK_KEY)
    text = kept.get("node") if isinstance(kept, Mapping) else None
    node = json.loads(text) if isinstance(text, str) else None
    return node if isinstance(node, dict) else {}


def _source_of(node: Mapping[str, Any]) -> str | None:
    """The id of the document that a node was cut from: its relationship number 1."""
    relationships = node.get("relationships")
    source = relationships.get("1") if isinstance(relationships, Mapping) else None
    return source.get("node_id") if isinstance(source, Mapping) else None


def _foreign(field: str, point_id: object, layout: str) -> StoreError:
    return StoreError(
        f"the point {point_id} has no {field!r} in its payload, so it is not in the layout {layout!r}; "
        f"check the layout that the collection is attached with"
    )


TERCET = TercetLayout()
