"""A LlamaIndex node in, tercet's document out, and back: the same for every class of this package.

id, text and metadata are the document's own, as LangChain or plain tercet read them. What a document has no place for
(class, relationships, templates, excluded keys, character offsets) is kept below `tercet.FRAMEWORK_KEY`, as far as it
differs from LlamaIndex's defaults:

    {"node": "{…}", "ref_doc_id": "handbook.md"}

The first is JSON in one text: filters can ask for every entry of a document's metadata, and nobody asks for these. A
document that somebody else wrote has nothing there and is a `TextNode`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, Final

from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeWithScore,
    TextNode,
)
from llama_index.core.schema import Document as SourceDocument

from tercet import FRAMEWORK_KEY, Document, Hit
from tercet.errors import InvalidDocument

SOURCE_ID: Final = f"{FRAMEWORK_KEY}.ref_doc_id"
"""The filter key for the id of the document that a node was cut from, LlamaIndex's `ref_doc_id`."""

_CLASSES: dict[str, type[BaseNode]] = {
    kind.class_name(): kind for kind in (TextNode, ImageNode, IndexNode, Node, SourceDocument, ImageDocument)
}

_PLAIN = {"class_name": TextNode.class_name()}

#: Kept by the document itself, or by the index as vectors.
_ELSEWHERE = {"id_", "embedding", "embeddings", "metadata", "text", "text_embedding"}


def document_of(node: BaseNode) -> Document:
    """The document to index.

    Raises:
        InvalidDocument: the node has no text, its id is no str, its metadata are not JSON or use tercet's own key.
    """
    if FRAMEWORK_KEY in node.metadata:
        raise InvalidDocument(
            f"the metadata of node {node.node_id!r} have the key {FRAMEWORK_KEY!r}, under which tercet keeps "
            f"relationships and templates; store yours under another key"
        )
    try:
        fields = node.to_dict(mode="json", exclude=_ELSEWHERE, exclude_defaults=True)
    except ValueError as error:
        raise InvalidDocument(f"node {node.node_id!r} cannot be written as JSON: {error}") from error
    kept = {key: value for key, value in fields.items() if key not in _ELSEWHERE}
    if isinstance(resource := kept.pop("text_resource", None), Mapping):
        rest = {key: value for key, value in resource.items() if key not in ("text", "embeddings") and value}
        kept |= {"text_resource": rest} if rest else {}
    if kept.get("obj", ...) is None:
        del kept["obj"]
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    own = {"node": json.dumps(kept, ensure_ascii=False, sort_keys=True)}
    if node.ref_doc_id is not None:
        own["ref_doc_id"] = node.ref_doc_id
    # A plain node is a plain document: added by LangChain, too, it is one and the same.
    return Document(text, node.node_id, {**node.metadata, **({} if kept == _PLAIN else {FRAMEWORK_KEY: own})})


def node_of(document: Document) -> BaseNode:
    """The node that was indexed, without its embedding; a node class of your own comes back as the core's."""
    # An index in memory hands out what it keeps, and a node's metadata are often written to.
    metadata = copy.deepcopy(document.public_metadata)
    fields = _fields(document)
    kind = _CLASSES.get(str(fields.pop("class_name", "")), TextNode)
    if "text_resource" in kind.model_fields:
        fields["text_resource"] = {**(fields.get("text_resource") or {}), "text": document.text}
    else:
        fields["text"] = document.text
    return kind.from_dict({**fields, "id_": document.id, "metadata": metadata})


def _fields(document: Document) -> dict[str, Any]:
    """What was kept of the node; nothing of a document that LlamaIndex did not write."""
    own = document.metadata.get(FRAMEWORK_KEY)
    kept = own.get("node") if isinstance(own, Mapping) else None
    fields = json.loads(kept) if isinstance(kept, str) else None
    return fields if isinstance(fields, dict) else {}


class Stage(BaseModel):
    """Where one stage put a node: rank from 1, score in the stage's own unit."""

    rank: int
    score: float


class ExplainedNode(NodeWithScore):
    """A node with its score, and why it is there.

    The explanation stands beside the node and not in its metadata, which go into prompts and into `node.hash`.

    stages: {"dense": Stage(rank=1, score=0.61), …}; a stage that is absent did not find it
    terms: {"rotate": 1.3, …}, what each shared SPLADE term adds to the sparse score, strongest first
    reason: both in one line, for people
    """

    stages: dict[str, Stage]
    terms: dict[str, float]
    reason: str

    @classmethod
    def class_name(cls) -> str:
        return "ExplainedNode"


def explained(hit: Hit) -> ExplainedNode:
    return ExplainedNode(
        node=node_of(hit.document),
        score=hit.score,
        stages={stage.stage: Stage(rank=stage.rank, score=stage.score) for stage in hit.stages},
        terms={match.term: match.contribution for match in hit.why},
        reason=hit.reason,
    )
