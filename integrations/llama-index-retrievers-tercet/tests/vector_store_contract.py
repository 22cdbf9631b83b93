"""What a LlamaIndex vector store must do, as one class of tests: LlamaIndex has no such suite.

The list is that of langchain-tests' VectorStoreIntegrationTests, then filters, query modes, ingestion, query engines.
Nothing in it knows tercet: subclass it and override `vector_store` (empty, one for each test) and `embed_model`. Nodes
have UUIDs, which every store takes as ids; one test is about others. The tests call them by name.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

BOOKS: dict[str, dict[str, Any]] = {
    "emma": {"author": "Austen", "year": 1815, "tags": ["novel", "irony"], "title": "Emma", "price": 7.5},
    "dracula": {"author": "Stoker", "year": 1897, "tags": ["novel", "horror"], "title": "Dracula", "price": 9.0},
    "odyssey": {"author": "Homer", "year": -700, "tags": ["epic"], "title": "The Odyssey", "price": 12.25},
    "persuasion": {"author": "Austen", "year": 1817, "tags": ["novel"], "title": "persuasion", "price": 7.5},
}
OP = FilterOperator

#: operator, key, value, and by hand which books pass.
OPERATORS: list[tuple[FilterOperator, str, Any, set[str]]] = [
    (OP.EQ, "author", "Austen", {"emma", "persuasion"}),
    (OP.EQ, "price", 7.5, {"emma", "persuasion"}),
    (OP.NE, "author", "Austen", {"dracula", "odyssey"}),
    (OP.GT, "year", 1815, {"dracula", "persuasion"}),
    (OP.GTE, "year", 1815, {"dracula", "persuasion", "emma"}),
    (OP.LT, "price", 9, {"emma", "persuasion"}),
    (OP.LTE, "price", 9, {"emma", "persuasion", "dracula"}),
    (OP.IN, "author", ["Homer", "Stoker"], {"odyssey", "dracula"}),
    (OP.NIN, "author", ["Homer", "Stoker"], {"emma", "persuasion"}),
    (OP.ANY, "tags", ["irony", "epic"], {"emma", "odyssey"}),
    (OP.ALL, "tags", ["novel", "horror"], {"dracula"}),
    (OP.CONTAINS, "tags", "novel", {"emma", "dracula", "persuasion"}),
    (OP.TEXT_MATCH, "title", "E", {"emma"}),
    (OP.TEXT_MATCH, "title", "no such text", set()),
    (OP.TEXT_MATCH_INSENSITIVE, "title", "E", {"emma", "odyssey", "persuasion"}),
    (OP.IS_EMPTY, "publisher", None, {"emma", "dracula", "odyssey", "persuasion"}),
    (OP.IS_EMPTY, "author", None, set()),
]


def uid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def names(ids: Sequence[str] | None) -> list[str]:
    """Of the nodes that the tests make; another id stays as it is."""
    known = {uid(name): name for name in (*BOOKS, "one", "two", "three", "four", "alone", "one again", "whole")}
    return [known.get(id_, id_) for id_ in ids or []]


def where(operator: FilterOperator, key: str, value: Any) -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=operator)


def both(*parts: Any) -> MetadataFilters:
    return MetadataFilters(filters=list(parts), condition=FilterCondition.AND)


def either(*parts: Any) -> MetadataFilters:
    return MetadataFilters(filters=list(parts), condition=FilterCondition.OR)


def none_of(*parts: Any) -> MetadataFilters:
    return MetadataFilters(filters=list(parts), condition=FilterCondition.NOT)


AUSTEN, NOVEL, CHEAP = (
    where(OP.EQ, "author", "Austen"),
    where(OP.CONTAINS, "tags", "novel"),
    where(OP.LT, "price", 8),
)
NESTED: list[tuple[str, MetadataFilters, set[str]]] = [
    ("and", both(AUSTEN, where(OP.GT, "year", 1815)), {"persuasion"}),
    ("or", either(AUSTEN, where(OP.LT, "year", 0)), {"emma", "persuasion", "odyssey"}),
    ("not", none_of(AUSTEN, where(OP.LT, "year", 0)), {"dracula"}),
    (
        "and-of-or",
        both(NOVEL, either(where(OP.GT, "year", 1890), where(OP.ALL, "tags", ["irony"]))),
        {"emma", "dracula"},
    ),
    ("not-of-and", none_of(both(AUSTEN, where(OP.GT, "year", 1815))), {"emma", "dracula", "odyssey"}),
    ("or-of-not", either(none_of(NOVEL), both(CHEAP, none_of(where(OP.EQ, "year", 1817)))), {"odyssey", "emma"}),
    ("not-of-not", none_of(none_of(AUSTEN)), {"emma", "persuasion"}),
    ("not-of-text", none_of(where(OP.TEXT_MATCH, "title", "s")), {"emma", "dracula"}),
]


class Caller:
    """A store whose methods are all awaited: the blocking ones of it, or the others."""

    def __init__(self, store: BasePydanticVectorStore, *, awaited: bool) -> None:
        self.store = store
        self.awaited = awaited

    async def add(self, nodes: Sequence[BaseNode]) -> list[str]:
        return names(await self.store.async_add(nodes) if self.awaited else self.store.add(nodes))

    async def get(self, named: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        node_ids = None if named is None else [uid(name) for name in named]
        if self.awaited:
            return await self.store.aget_nodes(node_ids=node_ids, filters=filters)
        return self.store.get_nodes(node_ids=node_ids, filters=filters)

    async def delete(self, ref_doc_id: str) -> None:
        if self.awaited:
            await self.store.adelete(ref_doc_id)
        else:
            self.store.delete(ref_doc_id)

    async def delete_nodes(self, named: list[str] | None = None, filters: MetadataFilters | None = None) -> None:
        node_ids = None if named is None else [uid(name) for name in named]
        if self.awaited:
            await self.store.adelete_nodes(node_ids=node_ids, filters=filters)
        else:
            self.store.delete_nodes(node_ids=node_ids, filters=filters)

    async def clear(self) -> None:
        if self.awaited:
            await self.store.aclear()
        else:
            self.store.clear()

    async def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        return await self.store.aquery(query, **kwargs) if self.awaited else self.store.query(query, **kwargs)

    async def ids(self) -> list[str]:
        return sorted(names([node.node_id for node in await self.get()]))


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / math.sqrt(sum(a * a for a in first) * sum(b * b for b in second))


class VectorStoreContract:
    @pytest.fixture
    def vector_store(self) -> BasePydanticVectorStore:
        raise NotImplementedError

    @pytest.fixture
    def embed_model(self) -> BaseEmbedding:
        raise NotImplementedError

    @pytest.fixture(params=["blocking", "awaited"])
    def store(self, vector_store: BasePydanticVectorStore, request: pytest.FixtureRequest) -> Caller:
        return Caller(vector_store, awaited=request.param == "awaited")

    @pytest.fixture
    def nodes(self, embed_model: BaseEmbedding) -> list[TextNode]:
        """Three passages: two of the handbook, one of the menu."""
        return [
            self.node(embed_model, "one", "Rotate the signing keys every 90 days.", "handbook", page=1),
            self.node(embed_model, "two", "Lost keys are reported to the security desk.", "handbook", page=2),
            self.node(embed_model, "three", "The cafeteria serves soup at noon.", "menu", page=1),
        ]

    @pytest.fixture
    def books(self, embed_model: BaseEmbedding) -> list[TextNode]:
        return [
            self.node(embed_model, id_, f"A book called {metadata['title']}.", None, **metadata)
            for id_, metadata in BOOKS.items()
        ]

    def node(self, embed_model: BaseEmbedding, id_: str, text: str, source: str | None, **metadata: Any) -> TextNode:
        related = {} if source is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
        return TextNode(
            id_=uid(id_),
            text=text,
            metadata=metadata,
            relationships=related,
            embedding=embed_model.get_text_embedding(text),
        )

    def question(self, embed_model: BaseEmbedding, text: str, k: int = 10, **fields: Any) -> VectorStoreQuery:
        embedding = embed_model.get_query_embedding(text)
        return VectorStoreQuery(query_str=text, query_embedding=embedding, similarity_top_k=k, **fields)

    # --- nodes in and out ---

    async def test_a_new_store_is_empty(self, store: Caller, embed_model: BaseEmbedding) -> None:
        result = await store.query(self.question(embed_model, "keys"))

        assert result.nodes == []
        assert result.ids == []
        assert await store.ids() == []

    async def test_added_nodes_are_found_at_once(
        self, store: Caller, nodes: list[TextNode], embed_model: BaseEmbedding
    ) -> None:
        assert await store.add(nodes) == ["one", "two", "three"]

        result = await store.query(self.question(embed_model, "how often are signing keys rotated?", k=2))

        assert names(result.ids) == ["one", "two"]
        assert [node.get_content() for node in result.nodes or []] == [node.text for node in nodes[:2]]

    async def test_adding_nothing_writes_nothing(self, store: Caller) -> None:
        assert await store.add([]) == []
        assert await store.ids() == []

    async def test_nodes_may_come_from_a_generator(self, store: Caller, nodes: list[TextNode]) -> None:
        assert await store.add(node for node in nodes) == ["one", "two", "three"]  # type: ignore[arg-type]
        assert len(await store.ids()) == 3

    async def test_a_node_comes_back_whole(self, store: Caller, embed_model: BaseEmbedding) -> None:
        text = "A passage with everything."
        node = TextNode(
            id_=uid("whole"),
            text=text,
            metadata={"file": "a.txt", "deep": {"er": [1, None, "x"]}, "flag": False},
            excluded_llm_metadata_keys=["file"],
            excluded_embed_metadata_keys=["deep", "flag"],
            metadata_template="{key}={value}",
            metadata_separator=" | ",
            text_template="{metadata_str} :: {content}",
            start_char_idx=5,
            end_char_idx=31,
            mimetype="text/markdown",
            relationships={
                NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc", hash="0a", metadata={"file": "a.txt"}),
                NodeRelationship.PREVIOUS: RelatedNodeInfo(node_id="before"),
                NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c1"), RelatedNodeInfo(node_id="c2")],
            },
            embedding=embed_model.get_text_embedding(text),
        )
        await store.add([node])

        [back] = await store.get(["whole"])
        [found] = (await store.query(self.question(embed_model, text, k=1))).nodes or []

        expected = node.model_copy(update={"embedding": None}).to_dict()
        assert back.model_copy(update={"embedding": None}).to_dict() == expected
        assert found.model_copy(update={"embedding": None}).to_dict() == expected
        assert back.hash == node.hash
        assert back.ref_doc_id == "doc"

    async def test_adding_again_changes_nothing(self, store: Caller, nodes: list[TextNode]) -> None:
        await store.add(nodes)
        await store.add(nodes)

        assert await store.ids() == ["one", "three", "two"]

    async def test_adding_under_a_stored_id_replaces_the_node(
        self, store: Caller, nodes: list[TextNode], embed_model: BaseEmbedding
    ) -> None:
        await store.add(nodes)
        changed = self.node(embed_model, "one", "Bicycles are parked in the yard.", "rules", page=9)
        await store.add([changed, self.node(embed_model, "four", "A new passage.", None)])

        assert await store.ids() == ["four", "one", "three", "two"]
        [back] = await store.get(["one"])
        assert (back.get_content(), back.metadata, back.ref_doc_id) == (changed.text, {"page": 9}, "rules")
        assert names((await store.query(self.question(embed_model, "where do bicycles go?", k=1))).ids) == ["one"]

    async def test_a_new_embedding_of_an_old_text_counts(
        self, store: Caller, nodes: list[TextNode], embed_model: BaseEmbedding
    ) -> None:
        await store.add(nodes)
        other = [-number for number in nodes[0].get_embedding()]
        await store.add([nodes[0].model_copy(update={"embedding": other})])

        query = VectorStoreQuery(query_embedding=other, similarity_top_k=1)
        assert names((await store.query(query)).ids) == ["one"]

    async def test_writing_to_a_node_that_came_back_does_not_change_the_store(
        self, store: Caller, embed_model: BaseEmbedding
    ) -> None:
        await store.add([self.node(embed_model, "one", "A passage.", "doc", tags=["a"])])
        [node] = await store.get(["one"])
        node.metadata["tags"].append("b")
        [found] = (await store.query(self.question(embed_model, "passage"))).nodes or []
        found.metadata["tags"].append("c")

        assert [again.metadata for again in await store.get(["one"])] == [{"tags": ["a"]}]

    async def test_get_nodes_keeps_the_order_and_passes_over_unknown_ids(
        self, store: Caller, nodes: list[TextNode]
    ) -> None:
        await store.add(nodes)

        assert names([node.node_id for node in await store.get(["three", "nobody", "one"])]) == ["three", "one"]
        assert await store.get(["nobody"]) == []
        assert await store.get([]) == []

    async def test_ids_may_be_any_string(self, store: Caller, embed_model: BaseEmbedding) -> None:
        ids = ["f" * 128, "with space/slash", "日本", "0"]
        passages = [self.node(embed_model, id_, f"Passage {id_}", None) for id_ in ids]
        await store.add([node.model_copy(update={"id_": id_}) for node, id_ in zip(passages, ids, strict=True)])

        assert [node.node_id for node in store.store.get_nodes(node_ids=ids)] == ids
        result = await store.query(self.question(embed_model, "passage"))
        assert set(result.ids or []) == set(ids)

    # --- deleting ---

    async def test_deleting_a_document_removes_all_its_nodes_and_no_others(
        self, store: Caller, nodes: list[TextNode]
    ) -> None:
        await store.add(nodes)
        await store.delete("handbook")

        assert await store.ids() == ["three"]

    async def test_nodes_without_a_source_survive_the_deletion_of_others(
        self, store: Caller, nodes: list[TextNode], embed_model: BaseEmbedding
    ) -> None:
        await store.add([*nodes, self.node(embed_model, "alone", "No source.", None)])
        await store.delete("None")
        await store.delete("")
        await store.delete("handbook")

        assert await store.ids() == ["alone", "three"]

    async def test_a_document_s_id_deletes_no_node_of_another_document(
        self, store: Caller, nodes: list[TextNode]
    ) -> None:
        await store.add(nodes)
        await store.delete(uid("three"))  # the id of a node of "menu"

        assert len(await store.ids()) == 3

    async def test_deleting_an_unknown_document_changes_nothing(self, store: Caller, nodes: list[TextNode]) -> None:
        await store.add(nodes)
        await store.delete("nobody")

        assert len(await store.ids()) == 3

    async def test_deleting_several_nodes(self, store: Caller, nodes: list[TextNode]) -> None:
        await store.add(nodes)
        await store.delete_nodes(["one", "three", "nobody"])

        assert await store.ids() == ["two"]

    async def test_deleting_by_filter_and_by_both(self, store: Caller, nodes: list[TextNode]) -> None:
        await store.add(nodes)
        first_pages = both(where(OP.EQ, "page", 1))
        await store.delete_nodes(["one", "two"], first_pages)
        assert await store.ids() == ["three", "two"]

        await store.delete_nodes(filters=first_pages)
        assert await store.ids() == ["two"]

    async def test_deleting_nothing_named_is_an_error(self, store: Caller, nodes: list[TextNode]) -> None:
        await store.add(nodes)

        with pytest.raises(ValueError, match="clear"):
            await store.delete_nodes()
        with pytest.raises(ValueError, match="empty"):
            await store.delete_nodes(filters=MetadataFilters(filters=[]))
        await store.delete_nodes([])
        assert len(await store.ids()) == 3

    async def test_clear_leaves_a_store_that_works(self, store: Caller, nodes: list[TextNode]) -> None:
        await store.add(nodes)
        await store.clear()
        assert await store.ids() == []

        await store.add(nodes[:1])
        assert await store.ids() == ["one"]

    # --- filters ---

    @pytest.mark.parametrize(
        ("operator", "key", "value", "expected"), OPERATORS, ids=[f"{o.value}-{k}-{v}" for o, k, v, _ in OPERATORS]
    )
    async def test_every_operator_passes_what_it_names(
        self,
        store: Caller,
        books: list[TextNode],
        embed_model: BaseEmbedding,
        operator: FilterOperator,
        key: str,
        value: Any,
        expected: set[str],
    ) -> None:
        await store.add(books)
        filters = both(where(operator, key, value))

        passes = build_metadata_filter_fn(BOOKS.__getitem__, filters)  # LlamaIndex's own reading of it
        assert {name for name in BOOKS if passes(name)} == expected
        assert set(names([node.node_id for node in await store.get(filters=filters)])) == expected
        result = await store.query(self.question(embed_model, "a book", filters=filters))
        assert set(names(result.ids)) == expected

    def test_every_operator_is_tried(self) -> None:
        assert {operator for operator, *_ in OPERATORS} == set(FilterOperator)

    @pytest.mark.parametrize(("filters", "expected"), [case[1:] for case in NESTED], ids=[case[0] for case in NESTED])
    async def test_filters_nest(
        self,
        store: Caller,
        books: list[TextNode],
        embed_model: BaseEmbedding,
        filters: MetadataFilters,
        expected: set[str],
    ) -> None:
        await store.add(books)

        assert set(names([node.node_id for node in await store.get(filters=filters)])) == expected
        result = await store.query(self.question(embed_model, "a book", filters=filters))
        assert set(names(result.ids)) == expected

    @pytest.mark.parametrize("mode", ["sparse", "hybrid", "mmr"])
    async def test_filters_hold_in_every_mode(
        self, store: Caller, books: list[TextNode], embed_model: BaseEmbedding, mode: str
    ) -> None:
        await store.add(books)
        query = self.question(embed_model, "a book", filters=both(AUSTEN), mode=VectorStoreQueryMode(mode))

        assert set(names((await store.query(query)).ids)) == {"emma", "persuasion"}

    async def test_a_document_without_the_key_is_not_equal_and_not_in(
        self, store: Caller, books: list[TextNode]
    ) -> None:
        await store.add(books)
        filters = both(where(OP.NE, "publisher", "Penguin"), where(OP.NIN, "publisher", ["Penguin"]))

        assert len(await store.get(filters=filters)) == 4

    async def test_doc_ids_and_node_ids_narrow_a_query(
        self, store: Caller, nodes: list[TextNode], embed_model: BaseEmbedding
    ) -> None:
        await store.add([*nodes, self.node(embed_model, "alone", "Keys and more keys.", None)])

        async def found(**fields: Any) -> list[str]:
            return sorted(names((await store.query(self.question(embed_model, "keys", **fields))).ids))

        assert await found(doc_ids=["handbook"]) == ["one", "two"]
        assert await found(node_ids=[uid("three"), uid("alone"), uid("nobody")]) == ["alone", "three"]
        assert await found(doc_ids=["handbook"], node_ids=[uid("two"), uid("three")]) == ["two"]
        assert await found(doc_ids=["nobody"]) == []
        assert len(await found(doc_ids=[], node_ids=[])) == 4  # what LlamaIndex passes for "any"

    @pytest.mark.parametrize("mode", [VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID])
    async def test_an_empty_filter_in_a_query_is_an_error(
        self, store: Caller, nodes: list[TextNode], embed_model: BaseEmbedding, mode: VectorStoreQueryMode
    ) -> None:
        await store.add(nodes)

        with pytest.raises(ValueError, match="empty"):
            await store.query(
                self.question(embed_model, "keys", mode=mode, filters=MetadataFilters(filters=[])),
            )

    # --- query modes ---

    async def test_default_is_by_cosine(self, store: Caller, nodes: list[TextNode], embed_model: BaseEmbedding) -> None:
        await store.add(nodes)
        query = self.question(embed_model, "soup for lunch")
        cosines = {
            names([node.node_id])[0]: cosine(query.query_embedding or [], node.get_embedding()) for node in nodes
        }

        result = await store.query(query)

        assert names(result.ids) == sorted(cosines, key=lambda id_: -cosines[id_])
        assert result.similarities == pytest.approx(sorted(cosines.values(), reverse=True), abs=1e-3)

    async def test_default_needs_no_text(self, store: Caller, nodes: list[TextNode]) -> None:
        await store.add(nodes)

        query = VectorStoreQuery(query_embedding=nodes[2].embedding, similarity_top_k=1)
        assert names((await store.query(query)).ids) == ["three"]

    async def test_sparse_finds_shared_words_and_nothing_else(
        self, store: Caller, nodes: list[TextNode], embed_model: BaseEmbedding
    ) -> None:
        await store.add(nodes)
        query = VectorStoreQuery(query_str="cafeteria soup", similarity_top_k=3, mode=VectorStoreQueryMode.SPARSE)

        result = await store.query(query)

        assert names(result.ids)[:1] == ["three"]
        assert all(similarity > 0 for similarity in result.similarities or [])
        assert result.similarities == sorted(result.similarities or [], reverse=True)

    async def test_sparse_without_text_is_an_error(self, store: Caller, nodes: list[TextNode]) -> None:
        await store.add(nodes)

        with pytest.raises(ValueError, match="query_str"):
            await store.query(
                VectorStoreQuery(query_embedding=nodes[0].embedding, mode=VectorStoreQueryMode.SPARSE),
            )

    async def test_hybrid_ends_where_one_half_is_alone(
        self, store: Caller, books: list[TextNode], nodes: list[TextNode], embed_model: BaseEmbedding
    ) -> None:
        await store.add([*books, *nodes])
        question = self.question(embed_model, "report lost keys", mode=VectorStoreQueryMode.HYBRID, alpha=0.0)
        words = VectorStoreQuery(query_str="report lost keys", similarity_top_k=10, mode=VectorStoreQueryMode.SPARSE)

        without_dense = names((await store.query(question)).ids)

        assert set(without_dense) == set(names((await store.query(words)).ids))
        assert without_dense[0] == "two"
        question.alpha = 1.0
        assert set(names((await store.query(question)).ids)) == {*BOOKS, "one", "two", "three"}

    async def test_mmr_prefers_what_is_unlike_the_first(
        self, store: Caller, nodes: list[TextNode], embed_model: BaseEmbedding
    ) -> None:
        twin = nodes[0].model_copy(update={"id_": uid("one again")})
        await store.add([*nodes, twin])
        question = self.question(embed_model, "rotate the signing keys", k=2, mode=VectorStoreQueryMode.MMR)

        near = await store.query(question, mmr_threshold=1.0)
        first, second = names((await store.query(question, mmr_threshold=0.0)).ids)

        assert set(names(near.ids)) == {"one", "one again"}
        assert first in {"one", "one again"}
        assert second in {"two", "three"}

    @pytest.mark.parametrize(
        "mode", sorted(set(VectorStoreQueryMode) - {"default", "sparse", "hybrid", "mmr"}, key=lambda mode: mode.value)
    )
    async def test_a_mode_that_is_not_served_is_an_error(
        self, store: Caller, nodes: list[TextNode], embed_model: BaseEmbedding, mode: VectorStoreQueryMode
    ) -> None:
        await store.add(nodes)

        with pytest.raises(ValueError, match=mode.value):
            await store.query(self.question(embed_model, "keys", mode=mode))

    async def test_no_hits_at_all_cannot_be_asked_for(
        self, store: Caller, nodes: list[TextNode], embed_model: BaseEmbedding
    ) -> None:
        await store.add(nodes)

        with pytest.raises(ValueError, match="at least 1"):
            await store.query(self.question(embed_model, "keys", k=0))

    # --- with the rest of LlamaIndex ---

    @pytest.mark.parametrize("runs", ["run", "arun"])
    @pytest.mark.parametrize("strategy", list(DocstoreStrategy))
    @pytest.mark.parametrize("split", [True, False], ids=["split", "whole"])
    async def test_ingestion_keeps_up_with_its_documents(
        self,
        vector_store: BasePydanticVectorStore,
        embed_model: BaseEmbedding,
        strategy: DocstoreStrategy,
        runs: str,
        split: bool,
    ) -> None:
        splitter = [SentenceSplitter(chunk_size=12, chunk_overlap=0)] if split else []
        pipeline = IngestionPipeline(
            transformations=[*splitter, embed_model],
            vector_store=vector_store,
            docstore=SimpleDocumentStore(),
            docstore_strategy=strategy,
        )

        async def ingest(**texts: str) -> None:
            documents = [Document(id_=uid(name), text=text) for name, text in texts.items()]
            if runs == "arun":
                await pipeline.arun(documents=documents)
            else:
                pipeline.run(documents=documents)

        letters = {uid(name): name for name in "abc"}

        def stored() -> dict[str, set[str]]:
            texts: dict[str, set[str]] = {}
            for node in vector_store.get_nodes():
                texts.setdefault(letters[node.ref_doc_id or node.node_id], set()).add(node.get_content())
            return texts

        old = "The old first sentence of a. The old second sentence of a."
        await ingest(a=old, b="Something about b.")
        before = stored()
        assert set(before) == {"a", "b"}
        assert len(before["a"]) == (2 if split else 1)

        await ingest(a=old, b="Something about b.")
        assert stored() == before

        await ingest(a="New text of a.", c="Something about c.")
        after = stored()
        if strategy is DocstoreStrategy.UPSERTS:
            assert after == {"a": {"New text of a."}, "b": before["b"], "c": {"Something about c."}}
        elif strategy is DocstoreStrategy.UPSERTS_AND_DELETE:
            assert after == {"a": {"New text of a."}, "c": {"Something about c."}}
        else:  # only what has been seen as it is, is left out; ids mean nothing to this strategy
            assert set(after) == {"a", "b", "c"}
            assert after["a"] >= {"New text of a."}

    def test_an_index_over_the_store_inserts_retrieves_and_deletes(
        self, vector_store: BasePydanticVectorStore, embed_model: BaseEmbedding
    ) -> None:
        index = VectorStoreIndex.from_vector_store(vector_store, embed_model=embed_model)
        index.insert(Document(id_=uid("keys"), text="Rotate the signing keys every 90 days."))
        index.insert(Document(id_=uid("soup"), text="The cafeteria serves soup at noon."))

        found = index.as_retriever(similarity_top_k=1).retrieve("when are keys rotated?")
        assert [node.node.ref_doc_id for node in found] == [uid("keys")]

        index.delete_ref_doc(uid("keys"))
        assert {node.ref_doc_id for node in vector_store.get_nodes()} == {uid("soup")}

    @pytest.mark.parametrize("mode", ["default", "sparse", "hybrid", "mmr"])
    async def test_an_index_retrieves_in_every_mode(
        self, vector_store: BasePydanticVectorStore, nodes: list[TextNode], embed_model: BaseEmbedding, mode: str
    ) -> None:
        vector_store.add(nodes)
        index = VectorStoreIndex.from_vector_store(vector_store, embed_model=embed_model)
        retriever = index.as_retriever(similarity_top_k=1, vector_store_query_mode=mode)

        assert names([found.node_id for found in retriever.retrieve("cafeteria soup")]) == ["three"]
        assert names([found.node_id for found in await retriever.aretrieve("cafeteria soup")]) == ["three"]

    async def test_a_query_engine_shows_the_llm_what_was_found(
        self, vector_store: BasePydanticVectorStore, nodes: list[TextNode], embed_model: BaseEmbedding
    ) -> None:
        vector_store.add(nodes)
        index = VectorStoreIndex.from_vector_store(vector_store, embed_model=embed_model)
        engine = RetrieverQueryEngine.from_args(index.as_retriever(similarity_top_k=1), llm=MockLLM())

        for response in (engine.query("cafeteria soup"), await engine.aquery("cafeteria soup")):
            assert "The cafeteria serves soup at noon." in str(response)  # MockLLM answers with its prompt
            assert names([source.node_id for source in response.source_nodes]) == ["three"]

    def test_the_store_written_down_holds_no_vector_text_or_secret(
        self, vector_store: BasePydanticVectorStore, nodes: list[TextNode]
    ) -> None:
        vector_store.add(nodes)
        written = vector_store.to_dict()

        assert written["class_name"] == vector_store.class_name()
        assert "api_key" not in json.dumps(written)
        assert "keys" not in json.dumps(written)
