"""Nodes and documents: everything a node has comes back, and others see the document alone."""

import json
from typing import Any

import pytest
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.schema import Document as SourceDocument

from llama_index.retrievers.tercet.nodes import SOURCE_ID, document_of, node_of
from tercet import FRAMEWORK_KEY, Document
from tercet.filters import entries, values_at

SOURCE = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc", metadata={"a": [1]}, hash="0a")}

NODES: dict[str, BaseNode] = {
    "plain": TextNode(id_="n", text="A text.", metadata={"a": [1, {"b": None}]}),
    "cut": TextNode(id_="n", text="A text.", relationships=SOURCE, start_char_idx=0, end_char_idx=7),
    "excluded": TextNode(id_="n", text="A text.", metadata={"a": 1}, excluded_llm_metadata_keys=["a"]),
    "templates": TextNode(id_="n", text="A text.", text_template="{content}", metadata_template="{key}"),
    "markdown": TextNode(id_="n", text="# A", mimetype="text/markdown"),
    "image": ImageNode(id_="n", text="A cat.", image_url="http://example.org/cat.png", image_mimetype="image/png"),
    "pixels": ImageNode(id_="n", text="A cat.", image="aGVsbG8="),
    "index": IndexNode(id_="n", text="A table.", index_id="table-3"),
    "index of a node": IndexNode(id_="n", text="A table.", index_id="t", obj=TextNode(id_="o", text="Inner.")),
    "document": SourceDocument(id_="n", text="A whole.", metadata={"file": "a.txt"}),
    "image document": ImageDocument(id_="n", text="A cat.", image_resource=MediaResource(path="/cat.png")),
    "node": Node(id_="n", text_resource=MediaResource(text="A text.", mimetype="text/markdown")),
}


@pytest.mark.parametrize("node", NODES.values(), ids=NODES)
def test_a_node_comes_back_whole(node: BaseNode) -> None:
    document = document_of(node)
    again = node_of(document)

    assert type(again) is type(node)
    assert again.to_dict() == node.to_dict()
    assert again.hash == node.hash
    assert (document.id, document.text) == ("n", node.get_content())
    assert document.public_metadata == node.metadata
    assert document_of(again) == document


def test_of_a_plain_node_nothing_is_kept_beside_the_document() -> None:
    assert document_of(NODES["plain"]) == Document("A text.", "n", {"a": [1, {"b": None}]})


def test_what_equals_the_defaults_is_not_kept() -> None:
    kept = document_of(NODES["excluded"]).metadata[FRAMEWORK_KEY]

    assert json.loads(kept["node"]) == {"class_name": "TextNode", "excluded_llm_metadata_keys": ["a"]}


def test_what_is_kept_adds_little_to_what_filters_can_ask() -> None:
    asked = [path for path, _ in entries(document_of(NODES["cut"]).metadata)]

    assert asked == [FRAMEWORK_KEY, f"{FRAMEWORK_KEY}.node", f"{FRAMEWORK_KEY}.ref_doc_id"]


def test_vectors_are_not_kept_as_metadata() -> None:
    node = ImageNode(id_="n", text="A cat.", embedding=[0.25] * 9, text_embedding=[0.5] * 9)

    assert "0.25" not in json.dumps(document_of(node).metadata)
    assert "0.5" not in json.dumps(document_of(node).metadata)


def test_the_source_can_be_filtered_by() -> None:
    assert values_at(document_of(NODES["cut"]).metadata, SOURCE_ID) == ["doc"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"lang": "en"},
        {"lang": "en", FRAMEWORK_KEY: {"node": '{"class_name": "AClassOfTomorrow", "new_field": 1}'}},
        {"lang": "en", FRAMEWORK_KEY: "something else"},
        {"lang": "en", FRAMEWORK_KEY: {"node": '{"id_": "another", "text": "another", "metadata": {"no": 1}}'}},
    ],
    ids=["nothing kept", "an unknown class", "not ours", "fields that are the document's"],
)
def test_what_is_not_known_is_a_text_node(metadata: dict[str, Any]) -> None:
    node = node_of(Document("A text.", "n", metadata))

    assert node.to_dict() == TextNode(id_="n", text="A text.", metadata={"lang": "en"}).to_dict()


def test_a_node_class_of_one_s_own_comes_back_as_the_core_s() -> None:
    class Page(TextNode):
        number: int = 0

        @classmethod
        def class_name(cls) -> str:
            return "Page"

    node = node_of(document_of(Page(id_="n", text="A text.", number=3, relationships=SOURCE)))

    assert type(node) is TextNode
    assert node.ref_doc_id == "doc"


def test_a_node_and_its_document_share_nothing_that_can_change() -> None:
    original = TextNode(id_="n", text="A text.", metadata={"a": [1]}, relationships=SOURCE)
    document = document_of(original)
    node = node_of(document)
    node.metadata["a"].append(2)
    node.relationships[NodeRelationship.SOURCE].metadata["a"].append(2)  # type: ignore[union-attr]

    assert node_of(document).to_dict() == original.to_dict()
