"""Collections of other programs, written here as langchain-qdrant 1.1 and llama-index-vector-stores-qdrant 0.10 do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from tercet import FRAMEWORK_KEY, Document, HybridIndex, SearchPlan
from tercet.encoders.own_dense import OwnDense
from tercet.errors import CollectionMismatch, StoreError
from tercet.storage import StorageOptions
from tercet.store.layouts import LangChainLayout, LayoutName, LlamaIndexLayout
from tests.store.rest_double import RestDouble
from tests.toys import DENSE_DIM, ToyEncoder

TEXTS = {
    "keys": "rotate the signing keys of the vault every month",
    "cat": "the cat sat on the mat",
    "dog": "the dog chased the cat",
}
IDS = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in TEXTS}
DENSE_ONLY = SearchPlan(stages=("dense",))


@pytest.fixture(params=["local", "rest"])
def server(request: pytest.FixtureRequest) -> Iterator[QdrantClient]:
    if request.param == "local":
        yield QdrantClient(":memory:")
        return
    with RestDouble("1.18.0") as double:
        client = QdrantClient(double.url, check_compatibility=False)
        yield client
        client.close()


@pytest.fixture(params=["langchain", "llama-index"])
def layout(request: pytest.FixtureRequest) -> LayoutName:
    name: LayoutName = request.param
    return name


def payload(layout: LayoutName, name: str, metadata: dict[str, Any]) -> dict[str, Any]:
    if layout == "langchain":
        return {"page_content": TEXTS[name], "metadata": metadata}
    node = {
        "id_": IDS[name],
        "embedding": None,
        "metadata": metadata,
        "relationships": {"1": {"node_id": "source", "class_name": "RelatedNodeInfo"}},
        "text_resource": {"text": TEXTS[name]},
        "class_name": "TextNode",
    }
    return {
        "_node_content": json.dumps(node),
        "_node_type": "TextNode",
        "doc_id": "source",
        "document_id": "source",
        "ref_doc_id": "source",
        **metadata,
    }


@pytest.fixture
def collection(server: QdrantClient, layout: LayoutName) -> str:
    """Three documents with the dense vectors of the toy encoder, and a sparse vector of the other program's."""
    config = models.VectorParams(size=DENSE_DIM, distance=models.Distance.COSINE)
    server.create_collection(
        "theirs",
        vectors_config=config if layout == "langchain" else {"text-dense": config},
        sparse_vectors_config={"their-sparse": models.SparseVectorParams()},
    )
    for number, (name, embedding) in enumerate(zip(TEXTS, ToyEncoder().encode_documents(TEXTS.values()), strict=True)):
        dense = embedding.dense.tolist()
        sparse = models.SparseVector(indices=[number], values=[1.0])
        vector = {"" if layout == "langchain" else "text-dense": dense, "their-sparse": sparse}
        server.upsert("theirs", [models.PointStruct(
            id=IDS[name], vector=vector, payload=payload(layout, name, {"animal": name != "keys", "n": number}),
        )])  # fmt: skip
    return "theirs"


@pytest.fixture
def index(server: QdrantClient, collection: str, layout: LayoutName) -> HybridIndex:
    return HybridIndex.attach(server, collection, layout=layout, encoder=ToyEncoder())


def test_before_the_backfill_dense_search_works_and_the_rest_says_what_to_do(index: HybridIndex) -> None:
    hits = index.search("the cat", plan=DENSE_ONLY)

    assert {hit.id for hit in hits} == set(IDS.values())
    assert hits[0].text in (TEXTS["cat"], TEXTS["dog"])
    for ask in (
        lambda: index.search("the cat"),
        lambda: index.search("the cat", plan=DENSE_ONLY, where={"animal": True}),
    ):
        with pytest.raises(StoreError, match=r"3 documents of .* call index.backfill\(\)"):
            ask()


def test_the_backfill_keeps_token_vectors_as_it_is_told(
    server: QdrantClient, collection: str, layout: LayoutName
) -> None:
    storage = StorageOptions(merge_tokens=2)
    HybridIndex.attach(server, collection, layout=layout, encoder=ToyEncoder(), storage=storage).backfill(
        progress=False
    )
    own = HybridIndex.in_memory(encoder=ToyEncoder(), storage=storage)
    own.add(Document(text, IDS[name]) for name, text in TEXTS.items())
    again = HybridIndex.attach(server, collection, layout=layout, encoder=ToyEncoder())  # which is told by the points

    assert again.store.storage == storage
    plan = SearchPlan(mode="cascade")
    expected = [(hit.id, pytest.approx(hit.score, abs=1e-3)) for hit in own.search("the cat", plan=plan)]
    assert [(hit.id, hit.score) for hit in again.search("the cat", plan=plan)] == expected
    with pytest.raises(CollectionMismatch, match="every 2 tokens"):
        HybridIndex.attach(server, collection, layout=layout, encoder=ToyEncoder(), storage=StorageOptions())


def test_after_the_backfill_it_answers_as_an_index_of_its_own(index: HybridIndex) -> None:
    own = HybridIndex.in_memory(encoder=ToyEncoder())
    own.add(
        Document(text, IDS[name], {"animal": name != "keys", "n": number})
        for number, (name, text) in enumerate(TEXTS.items())
    )

    report = index.backfill()

    assert sorted(report.updated) == sorted(IDS.values())
    for query, where in (("the cat", None), ("signing keys", None), ("the cat", {"animal": True, "n": {"gt": 1}})):
        expected = own.search(query, where=where)
        found = index.search(query, where=where)
        assert {hit.id: (hit.text, hit.document.public_metadata) for hit in found} == {
            hit.id: (hit.text, hit.metadata) for hit in expected
        }
        assert {hit.id: hit.score for hit in found} == pytest.approx({hit.id: hit.score for hit in expected}, abs=1e-2)


def test_what_the_other_program_wrote_stays(server: QdrantClient, index: HybridIndex) -> None:
    before = server.retrieve("theirs", list(IDS.values()), with_payload=True, with_vectors=True)
    index.backfill()
    after = server.retrieve("theirs", list(IDS.values()), with_payload=True, with_vectors=True)

    for old, new in zip(before, after, strict=True):
        assert old.id == new.id
        assert old.payload == {key: value for key, value in (new.payload or {}).items() if key != "tercet"}
        assert isinstance(old.vector, dict)
        assert isinstance(new.vector, dict)
        for name, vector in old.vector.items():
            if isinstance(vector, list):
                np.testing.assert_allclose(new.vector[name], vector, atol=1e-6)
            else:
                assert new.vector[name] == vector


def test_a_second_backfill_has_nothing_to_do(index: HybridIndex) -> None:
    index.backfill()

    assert index.backfill().updated == ()
    assert isinstance(index.encoder, ToyEncoder)
    assert len(index.encoder.encoded) == 2 * len(TEXTS)  # once to compare the dense model, once to fill in


def test_an_interrupted_backfill_is_finished_by_the_next(
    server: QdrantClient, index: HybridIndex, layout: LayoutName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tercet.store.qdrant_joined.FILL_BATCH", 1)
    fill = index.store.fill  # type: ignore[attr-defined]
    calls = []

    def fill_once(records: Any) -> None:
        if calls:
            raise KeyboardInterrupt
        calls.append(fill(records))

    monkeypatch.setattr(index.store, "fill", fill_once)
    with pytest.raises(KeyboardInterrupt):
        index.backfill()

    again = HybridIndex.attach(server, "theirs", layout=layout, encoder=ToyEncoder())
    with pytest.raises(StoreError, match="2 documents"):
        again.search("cat")
    assert len(again.backfill().updated) == 2
    assert len(again.search("cat")) == 3


def test_documents_are_read_written_and_deleted_in_the_other_programs_layout(
    server: QdrantClient, index: HybridIndex, layout: LayoutName
) -> None:
    index.backfill()
    new = str(uuid.uuid4())
    node = {"relationships": {"1": {"node_id": "elsewhere"}}}
    framework = {FRAMEWORK_KEY: {"node": json.dumps(node), "ref_doc_id": "elsewhere"}}
    kept = framework if layout == "llama-index" else {}
    index.add([Document("a bird in the tree", new, {"animal": True, **kept}), Document("no uuid", "plain")])

    [point] = server.retrieve("theirs", [new], with_payload=True)
    written = point.payload or {}
    if layout == "langchain":
        assert (written["page_content"], written["metadata"]) == ("a bird in the tree", {"animal": True})
    else:
        node = json.loads(written["_node_content"])
        assert (node["text"], node["metadata"], written["animal"]) == ("a bird in the tree", {"animal": True}, True)
        assert written["ref_doc_id"] == "elsewhere"
    assert {document.id for document in index.get([new, "plain", IDS["cat"]])} == {new, "plain", IDS["cat"]}
    assert index.search("bird tree")[0].text == "a bird in the tree"
    assert index.delete([new, "plain"]) == 2
    assert index.count() == 3


def test_a_document_without_a_text_is_named_and_found_by_its_dense_vector_alone(
    server: QdrantClient, collection: str, layout: LayoutName
) -> None:
    empty = str(uuid.uuid4())
    written = payload(layout, "cat", {})
    if layout == "langchain":
        written["page_content"] = ""
    else:
        written["_node_content"] = json.dumps({"id_": empty, "text": "", "class_name": "TextNode"})
    name = "" if layout == "langchain" else "text-dense"
    server.upsert(collection, [models.PointStruct(id=empty, vector={name: [1.0] * DENSE_DIM}, payload=written)])
    index = HybridIndex.attach(server, collection, layout=layout, encoder=ToyEncoder())

    report = index.backfill()

    assert [failure.id for failure in report.failed] == [empty]
    assert "empty text" in report.failed[0].reason
    assert empty in {hit.id for hit in index.search("cat")}


def test_another_dense_model_is_refused_by_what_its_vectors_say(
    server: QdrantClient, collection: str, layout: LayoutName
) -> None:
    random = np.random.default_rng(0)
    other = OwnDense(
        ToyEncoder(),
        embed_query=lambda text: random.standard_normal(DENSE_DIM),
        embed_documents=lambda texts: list(random.standard_normal((len(texts), DENSE_DIM))),
        name="random",
    )
    with pytest.raises(CollectionMismatch, match="made by another model than 'random"):
        HybridIndex.attach(server, collection, layout=layout, encoder=other)

    sized = OwnDense(ToyEncoder(), embed_query=lambda _: [1.0] * 3, embed_documents=lambda _: [], name="s", dim=3)
    with pytest.raises(CollectionMismatch, match=r"size 16, but .* makes size 3"):
        HybridIndex.attach(server, collection, layout=layout, encoder=sized)


def test_vectors_that_another_encoder_filled_in_are_refused(
    server: QdrantClient, index: HybridIndex, layout: LayoutName
) -> None:
    index.backfill()

    with pytest.raises(CollectionMismatch, match="filled in by an encoder with fingerprint toy-1"):
        HybridIndex.attach(server, "theirs", layout=layout, encoder=ToyEncoder(fingerprint="toy-2"))


def test_the_other_layout_is_told(server: QdrantClient, collection: str, layout: LayoutName) -> None:
    other: LayoutName = "langchain" if layout == "llama-index" else "llama-index"
    with pytest.raises(StoreError, match=f"not in the layout '{other}'"):
        HybridIndex.attach(server, collection, layout=other, encoder=ToyEncoder())
    with pytest.raises(ValueError, match="layout must be one of langchain, llama-index"):
        HybridIndex.attach(server, collection, layout="haystack", encoder=ToyEncoder())  # type: ignore[arg-type]


def test_what_cannot_be_joined_is_told() -> None:
    client = QdrantClient(":memory:")
    with pytest.raises(StoreError, match="no collection 'missing'"):
        HybridIndex.attach(client, "missing", layout="langchain", encoder=ToyEncoder())
    params = models.VectorParams(size=DENSE_DIM, distance=models.Distance.COSINE)
    client.create_collection("two", vectors_config={"a": params, "b": params})
    with pytest.raises(CollectionMismatch, match="'a', 'b'; name one"):
        HybridIndex.attach(client, "two", layout="langchain", encoder=ToyEncoder())
    euclid = models.VectorParams(size=DENSE_DIM, distance=models.Distance.EUCLID)
    client.create_collection("euclid", vectors_config=euclid)
    with pytest.raises(CollectionMismatch, match="tercet by cosine"):
        HybridIndex.attach(client, "euclid", layout="langchain", encoder=ToyEncoder())
    assert HybridIndex.attach(client, "two", layout="langchain", encoder=ToyEncoder(), dense_vector="b").count() == 0


def test_a_server_that_cannot_add_vectors_is_told() -> None:
    with RestDouble("1.17.0") as double:
        client = QdrantClient(double.url, check_compatibility=False)
        params = models.VectorParams(size=DENSE_DIM, distance=models.Distance.COSINE)
        client.create_collection("theirs", vectors_config=params)
        with pytest.raises(StoreError, match=r"runs Qdrant 1.17.0, which cannot add vectors .*\(1.18 can\)"):
            HybridIndex.attach(client, "theirs", layout="langchain", encoder=ToyEncoder())
        client.close()


def test_an_index_of_ones_own_has_nothing_to_fill_in() -> None:
    with pytest.raises(StoreError, match="backfill is for"):
        HybridIndex.in_memory(encoder=ToyEncoder()).backfill()


def test_layouts_name_their_vectors() -> None:
    assert LangChainLayout(dense="").vectors == {"dense": "", "sparse": "tercet-sparse", "late": "tercet-late"}
    assert LlamaIndexLayout(dense="text-dense").vectors["dense"] == "text-dense"


def test_what_was_found_by_dense_vectors_alone_is_explained_before_it_is_filled(index: HybridIndex) -> None:
    [hit, *_] = index.search("the cat", plan=DENSE_ONLY)
    explanation = index.explain("the cat", hit.id, plan=DENSE_ONLY)

    assert (explanation.rank, explanation.score) == (1, hit.score)
    assert explanation.stage("dense").computed == pytest.approx(explanation.score, abs=1e-5)
    assert (explanation.terms, explanation.matches) == ((), ())
    assert hit.text in explanation.to_html()


def test_an_explanation_that_needs_what_is_not_filled_says_so(index: HybridIndex) -> None:
    for ask in (index.explain, index.why_not):
        with pytest.raises(StoreError, match=r"3 documents .* call index.backfill\(\)"):
            ask("the cat", IDS["cat"])


def test_filled_in_documents_are_explained_as_ours_are(index: HybridIndex) -> None:
    index.backfill(progress=False)
    ours = HybridIndex.in_memory(encoder=ToyEncoder())
    ours.add([Document(text, IDS[name]) for name, text in TEXTS.items()])

    for name in TEXTS:
        found, expected = (each.explain("the cat chased", IDS[name]) for each in (index, ours))
        assert [(part.stage, part.rank) for part in found.stages] == [
            (part.stage, part.rank) for part in expected.stages
        ]
        assert found.score == pytest.approx(expected.score, abs=5e-3)
        assert {term.term for term in found.terms} == {term.term for term in expected.terms}
        assert sum(part.contribution for part in found.stages) == pytest.approx(found.score, abs=1e-9)
