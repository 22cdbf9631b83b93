"""What every store does, asked of each in turn. `MemoryStore` is checked against NumPy, the others against it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tercet.errors import CollectionMismatch, InvalidDocument
from tercet.filters import parse_filter
from tercet.store.base import Store
from tercet.store.memory import MemoryStore
from tercet.store.payload import point_id
from tercet.store.points import SEARCHES_PER_REQUEST
from tercet.types import Embedding, MultiVector, SparseVector, Stored, ranked
from tests.store.samples import SPEC, assert_same_ranking, embedding, ids, keys, query, record, records

NO_TERMS = SparseVector(np.empty(0, np.int64), np.empty(0, np.float32))
HALF_PRECISION = 5e-3  # of sums over four query tokens; float16 keeps 11 bits


def test_dense_ranking_is_by_cosine(store: Store) -> None:
    stored = records(60)
    store.upsert(stored)

    found = store.prefetch([query(0)], ["dense"], limit=20)[0]["dense"]

    expected = ranked([(r.document.id, float(r.embedding.dense @ query(0).dense)) for r in stored], 20)
    assert_same_ranking(found, expected, tolerance=HALF_PRECISION)


def test_sparse_ranking_is_by_dot_product_and_leaves_out_what_shares_no_term(store: Store) -> None:
    stored = [*records(60), record("far", embedding=_with_terms(embedding(5), [499]))]
    store.upsert(stored)

    found = store.prefetch([query(0)], ["sparse"], limit=100)[0]["sparse"]

    scores = [(r.document.id, r.embedding.sparse.dot(query(0).sparse)) for r in stored]
    assert_same_ranking(found, ranked([pair for pair in scores if pair[1] > 0]), tolerance=HALF_PRECISION)
    assert "far" not in ids(found)


def test_late_ranking_is_the_sum_over_query_tokens_of_the_best_document_token(store: Store) -> None:
    stored = records(30)
    store.upsert(stored)
    tokens = query(0).multi_vector
    candidates = [r.document.id for r in stored[:10]]

    found = store.rerank([(tokens, keys([*candidates, "unknown"]))])[0]

    products = {r.document.id: tokens.vectors @ r.embedding.multi_vector.vectors.T for r in stored[:10]}
    expected = ranked([(id, float(product.max(axis=1).sum())) for id, product in products.items()])
    assert_same_ranking(found, expected, tolerance=HALF_PRECISION)


def test_all_stages_agree_with_the_store_in_memory(store: Store) -> None:
    oracle = MemoryStore(SPEC)
    for each in (store, oracle):
        each.upsert(records(80))
    queries = [query(seed) for seed in range(4)]

    found, expected = (each.prefetch(queries, ["dense", "sparse"], limit=15) for each in (store, oracle))

    for mine, theirs in zip(found, expected, strict=True):
        for stage in ("dense", "sparse"):
            assert_same_ranking(mine[stage], theirs[stage], tolerance=HALF_PRECISION)


def test_a_batch_answers_each_query_as_alone(store: Store) -> None:
    store.upsert(records(40))
    queries = [query(seed) for seed in range(3)]
    pools = [(queries[n].multi_vector, keys(f"{id:03}" for id in range(n, 40, 3))) for n in range(3)]

    assert store.rerank(pools) == [store.rerank([pool])[0] for pool in pools]
    together = store.prefetch(queries, ["sparse"], limit=5)
    assert [ids(found["sparse"]) for found in together] == [
        ids(store.prefetch([q], ["sparse"], limit=5)[0]["sparse"]) for q in queries
    ]


def test_more_queries_than_go_into_a_request_are_answered_in_order(store: Store) -> None:
    store.upsert(records(20))
    queries = [query(seed) for seed in range(SEARCHES_PER_REQUEST + 3)]
    pools = [(q.multi_vector, keys([f"{n % 20:03}"])) for n, q in enumerate(queries)]

    found = store.prefetch(queries, ["dense", "sparse"], limit=1)

    alone = [store.prefetch([q], ["dense", "sparse"], limit=1)[0] for q in (queries[0], queries[-1])]
    assert [ids(found[0]["dense"]), ids(found[-1]["dense"])] == [ids(each["dense"]) for each in alone]
    assert [ids(found[0]["sparse"]), ids(found[-1]["sparse"])] == [ids(each["sparse"]) for each in alone]
    assert [[scored.id for scored in ranking] for ranking in store.rerank(pools)] == [pool for _, pool in pools]


def test_equal_scores_are_ordered_by_key_also_at_the_cut(store: Store) -> None:
    twin = embedding(7)
    names = sorted((f"twin-{n:02}" for n in range(40)), key=point_id)
    store.upsert([record(id, embedding=twin) for id in reversed(names)])

    for _ in range(5):
        found = store.prefetch([twin], ["dense", "sparse"], limit=7)[0]
        assert ids(found["dense"]) == names[:7]
        assert ids(found["sparse"]) == names[:7]
        assert ids(store.rerank([(twin.multi_vector, keys(names[::-1]))])[0]) == names


def test_a_filter_holds_inside_each_stage(store: Store) -> None:
    store.upsert(records(60))

    found = store.prefetch([query(0)], ["dense", "sparse"], limit=10, where=parse_filter({"n": {"gte": 50}}))[0]

    assert sorted(ids(found["dense"])) == [f"{n:03}" for n in range(50, 60)]
    assert set(ids(found["sparse"])) <= {f"{n:03}" for n in range(50, 60)}


def test_documents_are_filtered_by_id_and_never_by_metadata_of_that_name(store: Store) -> None:
    store.upsert([*records(4), record("x", metadata={"$id": "001"})])
    by_id = parse_filter({"$id": ["001", "003"]})

    found = store.prefetch([query(0)], ["dense"], limit=5, where=by_id)[0]["dense"]

    assert sorted(ids(found)) == ["001", "003"]
    assert store.count(parse_filter({"and": [{"$id": {"nin": ["001"]}}, {"n": {"lt": 3}}]})) == 2
    assert store.delete_where(by_id) == 2


def test_a_text_without_terms_is_stored_and_found_by_the_other_stages(store: Store) -> None:
    silent = replace(embedding(1), sparse=NO_TERMS)
    store.upsert([record("silent", embedding=silent), *records(3)])

    found = store.prefetch([silent], ["dense", "sparse"], limit=5)[0]

    assert ids(found["dense"])[0] == "silent"
    assert found["sparse"] == []
    assert sparse_of(store, "silent") == {}


def test_documents_come_back_as_they_went_in(store: Store) -> None:
    metadata = {
        "n": 3, "whole": 3.0, "big": 2**63 - 1, "small": -(2**63), "tiny": 5e-324, "flag": False, "none": None,
        "list": [1, "two", [3.5]], "deep": {"er": {"é": "ü\u0000\n"}}, "a.b": 'quo"te', "": "empty key",
    }  # fmt: skip
    original = record("é/1 #ü", text="Zeile 1\nZeile 2 \U0001f600", metadata=metadata)
    store.upsert([original])

    [key, unknown] = keys(["é/1 #ü", "unknown"])
    found = store.read([key, unknown])

    assert found == {key: Stored(original.document)}
    assert (store.key("é/1 #ü"), store.document_ids([key, unknown])) == (key, {key: "é/1 #ü"})
    document = found[key].document
    assert type(document.metadata["whole"]) is float
    assert store.content_hashes(["é/1 #ü", "unknown"]) == {"é/1 #ü": original.content_hash}
    assert document.content_hash() == original.content_hash


def test_the_vectors_that_are_asked_for_come_back(store: Store) -> None:
    stored = records(3)
    store.upsert(stored)

    found = store.read(keys(["001", "unknown"]), vectors=["dense", "sparse", "late"])

    assert list(found) == keys(["001"])
    [(_, dense, sparse, late)] = found.values()
    assert dense is not None
    assert sparse is not None
    assert late is not None
    np.testing.assert_allclose(late, stored[1].embedding.multi_vector.vectors, atol=HALF_PRECISION)
    np.testing.assert_allclose(dense, stored[1].embedding.dense, atol=1e-6)
    expected = stored[1].embedding.sparse
    assert sparse == dict(zip(expected.indices.tolist(), expected.values.tolist(), strict=True))


async def test_a_reader_answers_as_the_store(store: Store) -> None:
    store.upsert(records(40))
    queries = [query(seed) for seed in range(3)]
    candidates = [(each.multi_vector, keys(["001", "007", "unknown"])) for each in queries]

    reader = store.reader()

    assert await reader.prefetch(queries, ["dense", "sparse"], limit=5) == store.prefetch(
        queries, ["dense", "sparse"], limit=5
    )
    assert await reader.rerank(candidates) == store.rerank(candidates)
    assert await reader.read(keys(["001", "unknown"])) == store.read(keys(["001"]))
    assert await reader.document_ids(keys(["001", "unknown"])) == dict(zip(keys(["001"]), ["001"], strict=True))
    await store.aclose()


def test_writing_an_id_again_replaces_the_whole_record(store: Store) -> None:
    store.upsert([record("a", text="old", metadata={"old": 1})])
    changed = record("a", text="new", metadata={"new": 1}, embedding=replace(embedding(99), sparse=NO_TERMS))
    store.upsert([changed])

    assert store.count() == 1
    assert list(store.read(keys(["a"])).values()) == [Stored(changed.document)]
    assert sparse_of(store, "a") == {}
    assert store.count(parse_filter({"old": {"exists": True}})) == 0


def test_the_last_of_equal_ids_in_one_batch_stays(store: Store) -> None:
    store.upsert([record("a", text="first"), record("a", text="last")])

    assert store.count() == 1
    assert [stored.document.text for stored in store.read(keys(["a"])).values()] == ["last"]


def test_delete_tells_how_many_there_were(store: Store) -> None:
    store.upsert(records(10))

    assert store.delete(["000", "001", "unknown", "000"]) == 2
    assert store.delete([]) == 0
    assert store.delete_where(parse_filter({"lang": "en"})) == 4
    assert sorted(document.id for document in store.scroll()) == ["002", "004", "006", "008"]
    assert "000" not in ids(store.prefetch([query(0)], ["dense"], limit=20)[0]["dense"])


def test_scroll_gives_every_document_once_whatever_the_page(store: Store) -> None:
    store.upsert(records(25))

    assert sorted(document.id for document in store.scroll(batch_size=4)) == [f"{n:03}" for n in range(25)]
    assert sorted(d.id for d in store.scroll(parse_filter({"flag": True}), batch_size=2)) == [
        f"{n:03}" for n in range(0, 25, 3)
    ]
    assert store.count(parse_filter({"flag": True})) == 9


def test_nothing_is_asked_for_and_nothing_comes(store: Store) -> None:
    store.upsert([])

    assert store.count() == 0
    assert list(store.scroll()) == []
    assert store.rerank([]) == []
    assert store.rerank([(query(0).multi_vector, [])]) == [[]]
    assert store.prefetch([query(0)], ["dense", "sparse"], limit=3) == [{"dense": [], "sparse": []}]


def test_vectors_of_another_size_are_refused_before_anything_is_written(store: Store) -> None:
    wide = replace(embedding(1), dense=np.eye(1, 17, dtype=np.float32)[0])

    with pytest.raises(CollectionMismatch, match=r"size 16 .* got size 17"):
        store.upsert([record("good"), record("wide", embedding=wide)])

    assert store.count() == 0
    with pytest.raises(CollectionMismatch):
        store.prefetch([wide], ["dense"], limit=1)
    with pytest.raises(CollectionMismatch):
        store.rerank([(MultiVector(np.eye(9, dtype=np.float32)), ["good"])])
    with pytest.raises(CollectionMismatch, match="term 500"):
        store.upsert([record("far", embedding=_with_terms(embedding(1), [500]))])


def test_a_multi_vector_that_a_server_would_refuse_is_refused_everywhere(store: Store) -> None:
    long = MultiVector(np.tile(np.eye(8, dtype=np.float32), (16_384, 1)))  # 2**20 numbers, one too many

    with pytest.raises(InvalidDocument, match="131,072 × 8"):
        store.upsert([record("good"), record("long", embedding=replace(embedding(1), multi_vector=long))])

    assert store.count() == 0


def test_a_sparse_weight_beyond_half_precision_is_refused(store: Store) -> None:
    heavy = replace(embedding(1), sparse=SparseVector(np.array([3]), np.array([70_000], np.float32)))

    with pytest.raises(InvalidDocument, match="70000"):
        store.upsert([record("heavy", embedding=heavy)])


def test_threads_may_share_a_store(store: Store) -> None:
    stored = records(40)
    expected = MemoryStore(SPEC)
    expected.upsert(stored)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda start: store.upsert(stored[start : start + 5]), range(0, 40, 5)))
        answers = list(pool.map(lambda seed: store.prefetch([query(seed)], ["dense"], limit=5)[0]["dense"], range(16)))

    assert store.count() == 40
    for seed, answer in enumerate(answers):
        assert ids(answer) == ids(expected.prefetch([query(seed)], ["dense"], limit=5)[0]["dense"])


def test_a_store_describes_itself(store: Store) -> None:
    store.upsert(records(3))

    description = store.describe()

    assert description["documents"] == 3
    assert description["encoder"] == "tiny"
    assert store.spec == SPEC


def test_compact_and_flush_change_no_answer(store: Store) -> None:
    store.upsert(records(50))
    store.delete([f"{n:03}" for n in range(0, 50, 2)])
    before = store.prefetch([query(0)], ["dense", "sparse"], limit=10)[0]

    store.flush()
    store.compact()

    after = store.prefetch([query(0)], ["dense", "sparse"], limit=10)[0]
    assert store.count() == 25
    for stage in ("dense", "sparse"):
        assert_same_ranking(after[stage], before[stage], tolerance=2e-2)


def test_close_twice_is_close(store: Store) -> None:
    store.close()
    store.close()


def _with_terms(original: Embedding, terms: list[int]) -> Embedding:
    return replace(original, sparse=SparseVector(np.array(terms), np.ones(len(terms), np.float32)))


def sparse_of(store: Store, id: str) -> object:
    [stored] = store.read(keys([id]), vectors=["sparse"]).values()
    return stored.sparse
