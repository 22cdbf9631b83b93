import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tercet import Document, HybridIndex, SearchPlan
from tercet.errors import CollectionMismatch, InvalidDocument, InvalidFilter
from tercet.fusion import min_max_fusion, reciprocal_rank_fusion
from tercet.intake import ADD_BATCH
from tercet.store.memory import MemoryStore
from tercet.types import Record
from tests.toys import ToyEncoder

TEXTS = {
    "keys": "rotate the signing keys of the vault every month",
    "vault": "the vault stores secrets and keys",
    "cat": "the cat sat on the mat",
    "dog": "the dog chased the cat",
}


@pytest.fixture
def index(toy_encoder: ToyEncoder) -> HybridIndex:
    index = HybridIndex.in_memory(encoder=toy_encoder)
    index.add(
        Document(text, id_, {"length": len(text), "animal": id_ in ("cat", "dog")}) for id_, text in TEXTS.items()
    )
    return index


class TestSearch:
    def test_the_best_document_shares_most_with_the_query(self, index: HybridIndex) -> None:
        hit = index.search("rotate signing keys")[0]

        assert hit.id == "keys"
        assert hit.text == TEXTS["keys"]
        assert {match.term for match in hit.why} == {"rotate", "signing", "keys"}
        assert [stage.stage for stage in hit.stages] == ["dense", "sparse", "fused", "late"]
        assert hit.reason.endswith("sparse #1 · fused #1 · late #1 · terms: rotate, signing, keys")

    def test_the_final_score_is_the_weighted_reciprocal_rank_sum(self, index: HybridIndex) -> None:
        plan = SearchPlan(weights={"dense": 1, "sparse": 0.5, "late": 2}, rank_constant=10, fusion="rrf")
        for hit in index.search("the vault", plan=plan):
            ranks = {stage.stage: stage.rank for stage in hit.stages}
            expected = sum(plan.weights[stage] / (10 + ranks[stage]) for stage in plan.weights if stage in ranks)
            assert hit.score == pytest.approx(expected)

    @pytest.mark.parametrize("stages", [("dense", "sparse", "late"), ("dense", "sparse")])
    def test_min_max_joins_by_scores(self, index: HybridIndex, stages: tuple[str, ...]) -> None:
        plan = SearchPlan(fusion="min_max", weights={"late": 3}, stages=stages)
        trace = index.rankings(["the vault keys"], plan=plan)[0]
        expected = dict(min_max_fusion({stage: trace[stage] for stage in stages}, weights=plan.weights))

        assert {hit.id: hit.score for hit in index.search("the vault keys", plan=plan)} == pytest.approx(expected)
        assert 0 < trace["final"][0].score <= 1

    def test_shared_terms_sum_to_the_sparse_score(self, index: HybridIndex) -> None:
        for hit in index.search("the cat chased the vault keys"):
            sparse = [stage.score for stage in hit.stages if stage.stage == "sparse"]
            assert sum(match.contribution for match in hit.why) == pytest.approx(sum(sparse))

    def test_many_queries_get_what_each_gets_alone(self, index: HybridIndex) -> None:
        queries = ["vault keys", "cat", "dog and mat"]

        assert index.search_many(queries, k=3) == [index.search(query, k=3) for query in queries]

    def test_no_queries_get_no_answers(self, index: HybridIndex) -> None:
        assert index.search_many([]) == []

    async def test_an_async_search_finds_the_same(self, index: HybridIndex) -> None:
        assert await index.asearch("cat", k=2) == index.search("cat", k=2)

    async def test_an_async_search_lets_the_loop_run(self, index: HybridIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        started, ticked = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        encode = index.encoder.encode_queries

        def slow(queries: Any) -> Any:
            loop.call_soon_threadsafe(started.set)
            asyncio.run_coroutine_threadsafe(ticked.wait(), loop).result(timeout=5)
            return encode(queries)

        monkeypatch.setattr(index.encoder, "encode_queries", slow)
        search = asyncio.create_task(index.asearch("cat"))
        await started.wait()
        ticked.set()
        assert "cat" in (await search)[0].text

    def test_a_filter_holds_inside_each_stage(self, index: HybridIndex) -> None:
        hits = index.search("vault keys", where={"animal": True}, plan=SearchPlan(k=1, prefetch_k=1, rerank_k=1))

        assert [hit.metadata["animal"] for hit in hits] == [True]

    @pytest.mark.parametrize("stages", [("dense",), ("sparse",), ("dense", "sparse"), ("sparse", "late")])
    def test_stages_can_be_left_out(self, index: HybridIndex, stages: tuple[str, ...]) -> None:
        hit = index.search(TEXTS["keys"], plan=SearchPlan(stages=stages))[0]

        assert hit.id == "keys"
        assert [stage.stage for stage in hit.stages if stage.stage != "fused"] == list(stages)

    def test_cascade_orders_by_late_interaction_alone(self, index: HybridIndex) -> None:
        hits = index.search("the cat", plan=SearchPlan(mode="cascade"))
        late = [next(stage for stage in hit.stages if stage.stage == "late") for hit in hits]

        assert [stage.rank for stage in late] == [1, 2, 3, 4]
        assert [hit.score for hit in hits] == [stage.score for stage in late]

    def test_a_threshold_by_stage_drops_what_it_did_not_reach(self, index: HybridIndex) -> None:
        plan = SearchPlan(threshold={"sparse": 0.5})

        assert {hit.id for hit in index.search("rotate", plan=plan)} == {"keys"}

    def test_a_plain_threshold_is_on_the_final_score(self, index: HybridIndex) -> None:
        best = index.search("rotate")[0].score

        assert len(index.search("rotate", plan=SearchPlan(threshold=best))) == 1

    def test_rankings_hold_every_stage_in_its_order(self, index: HybridIndex) -> None:
        plan = SearchPlan(k=1)
        trace = index.rankings(["vault keys"], plan=plan)[0]

        assert list(trace) == ["dense", "sparse", "fused", "late", "final"]
        pool = {stage: trace[stage] for stage in ("dense", "sparse")}
        assert trace["fused"] == reciprocal_rank_fusion(pool, weights=plan.weights)
        assert trace["final"][0].id == index.search("vault keys", plan=plan)[0].id

    def test_more_hits_than_the_default_pool_make_the_pool_larger(self, toy_encoder: ToyEncoder) -> None:
        index = HybridIndex.in_memory(encoder=toy_encoder)
        index.add(f"word{number} shared" for number in range(300))

        assert len(index.search("shared", k=250)) == 250

    def test_a_larger_k_keeps_the_rest_of_the_indexs_plan(self, toy_encoder: ToyEncoder) -> None:
        plan = SearchPlan(k=2, prefetch_k=5, rerank_k=5, stages=("sparse",))
        index = HybridIndex.in_memory(encoder=toy_encoder, plan=plan)
        index.add(f"word{number} shared" for number in range(30))

        hits = index.search("shared", k=20)
        assert len(hits) == 20
        assert {stage.stage for hit in hits for stage in hit.stages} == {"sparse", "fused"}

    def test_a_stage_of_weight_0_brings_no_documents(self, index: HybridIndex) -> None:
        plan = SearchPlan(weights={"dense": 0, "sparse": 1, "late": 0})

        assert {hit.id for hit in index.search("rotate", plan=plan)} == {"keys"}

    def test_a_plan_given_by_hand_does_not_grow_in_secret(self, index: HybridIndex) -> None:
        with pytest.raises(ValueError, match="pool of 5"):
            index.search("cat", k=6, plan=SearchPlan(k=5, rerank_k=5))

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("", "query is empty"),
            (" \n", "query is empty"),
            ("a \ud800", "lone surrogate at character 2"),
            (None, "NoneType"),
        ],
    )
    def test_what_is_no_query_is_an_error(self, index: HybridIndex, query: Any, message: str) -> None:
        with pytest.raises((ValueError, TypeError), match=message):
            index.search(query)

    def test_one_str_is_not_many_queries(self, index: HybridIndex) -> None:
        with pytest.raises(TypeError, match="got one str"):
            index.search_many("cat")

    @pytest.mark.parametrize("k", [0, -1, 2.5, "5", True])
    def test_an_impossible_k_is_an_error(self, index: HybridIndex, k: Any) -> None:
        with pytest.raises((ValueError, TypeError), match="k"):
            index.search("cat", k=k)

    def test_an_unreadable_filter_is_an_error(self, index: HybridIndex) -> None:
        with pytest.raises(InvalidFilter, match="gtee"):
            index.search("cat", where={"length": {"gtee": 3}})

    def test_an_empty_index_finds_nothing(self, toy_encoder: ToyEncoder) -> None:
        assert HybridIndex.in_memory(encoder=toy_encoder).search("cat") == []


class TestAdd:
    def test_documents_come_in_any_form(self, toy_encoder: ToyEncoder) -> None:
        index = HybridIndex.in_memory(encoder=toy_encoder)

        report = index.add(["one", Document("two", "2"), {"text": "three", "id": "3", "metadata": {"n": 3}}])

        assert report.added[1:] == ("2", "3")
        assert [document.metadata for document in index.get(["3"])] == [{"n": 3}]
        assert index.add("one").skipped == (report.added[0],)

    def test_what_is_stored_as_it_is_is_not_encoded_again(self, index: HybridIndex, toy_encoder: ToyEncoder) -> None:
        toy_encoder.encoded.clear()

        report = index.add([Document("a new text", "cat", {"length": 1}), *index.get(["dog", "keys"])])

        assert (report.updated, report.skipped, report.added) == (("cat",), ("dog", "keys"), ())
        assert toy_encoder.encoded == ["a new text"]
        assert index.get(["cat"])[0].text == "a new text"

    def test_changed_metadata_is_a_change(self, index: HybridIndex) -> None:
        index.add(Document(TEXTS["cat"], "cat", {"animal": False}))

        assert index.get("cat")[0].metadata == {"animal": False}

    @pytest.mark.parametrize("apart", [1, ADD_BATCH])
    def test_of_two_documents_with_one_id_the_last_counts(self, toy_encoder: ToyEncoder, apart: int) -> None:
        index = HybridIndex.in_memory(encoder=toy_encoder)
        between = [Document(f"text {number}", f"t{number}") for number in range(apart - 1)]

        report = index.add([Document("first", "same"), *between, Document("last", "same")])

        assert index.get("same")[0].text == "last"
        assert report.added.count("same") == 1
        assert "same" not in report.updated
        assert index.count() == apart

    def test_what_cannot_be_indexed_is_counted_and_named(
        self, toy_encoder: ToyEncoder, caplog: pytest.LogCaptureFixture
    ) -> None:
        index = HybridIndex.in_memory(encoder=toy_encoder)
        bad: list[Any] = [
            "",
            {"id": "x"},
            {"text": "a", "id": "y", "metadata": {"n": float("nan")}},
            7,
            {"text": "a", "k": 1},
        ]
        with caplog.at_level(logging.WARNING):
            report = index.add(["good", *bad])

        assert [failure.position for failure in report.failed] == [1, 2, 3, 4, 5]
        assert [failure.id for failure in report.failed] == [None, "x", "y", None, None]
        assert str(report) == "1 added, 0 updated, 0 unchanged, 5 failed"
        assert "position 3" in caplog.text
        assert index.count() == 1

    def test_raising_stops_before_the_batch_is_written(self, toy_encoder: ToyEncoder) -> None:
        index = HybridIndex.in_memory(encoder=toy_encoder)

        with pytest.raises(InvalidDocument, match=r"position 1: .*empty text"):
            index.add(["good", " "], on_error="raise")
        assert index.count() == 0

    def test_a_misspelt_option_raises(self, index: HybridIndex) -> None:
        with pytest.raises(ValueError, match="on_error"):
            index.add(["a"], on_error="ignore")  # type: ignore[arg-type]

    def test_the_input_is_read_as_it_goes(self, toy_encoder: ToyEncoder) -> None:
        index = HybridIndex.in_memory(encoder=toy_encoder)

        def endless() -> Iterator[str]:
            for number in range(2 * ADD_BATCH + 7):
                yield f"text {number}"
            raise OSError("the source broke off")

        with pytest.raises(OSError, match="broke off"):
            index.add(endless())
        assert index.count() == 2 * ADD_BATCH + 7

    def test_a_source_that_fills_one_dict_again_and_again_is_no_surprise(self, toy_encoder: ToyEncoder) -> None:
        index = HybridIndex.in_memory(encoder=toy_encoder)

        def rows() -> Iterator[dict[str, Any]]:
            row: dict[str, Any] = {"metadata": {}}
            for number in range(3):
                row["id"], row["text"] = str(number), f"text {number}"
                row["metadata"]["number"] = number
                yield row

        index.add(rows())
        assert [document.metadata["number"] for document in index.get(["0", "1", "2"])] == [0, 1, 2]

    def test_a_document_that_the_engine_cannot_hold_leaves_the_others(
        self, index: HybridIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upsert = index.store.upsert

        def choosy(records: Sequence[Record]) -> None:
            if any(record.document.id == "huge" for record in records):
                raise InvalidDocument("its multi-vector is too large")
            upsert(records)

        monkeypatch.setattr(index.store, "upsert", choosy)
        report = index.add([Document("one", "1"), Document("too much", "huge"), Document("two", "2")])

        assert report.added == ("1", "2")
        assert [(failure.position, failure.id) for failure in report.failed] == [(1, "huge")]

    def test_a_text_longer_than_the_model_reads_is_named(self) -> None:
        index = HybridIndex.in_memory(encoder=ToyEncoder(max_document_tokens=4))

        report = index.add([Document("one two three four five", "long"), "short"])

        assert report.truncated == ("long",)
        assert str(report).endswith("(1 truncated)")


class TestTheRest:
    def test_get_keeps_the_order_asked_for(self, index: HybridIndex) -> None:
        assert [document.id for document in index.get(["dog", "nobody", "cat"])] == ["dog", "cat"]

    def test_delete_by_id_and_by_filter(self, index: HybridIndex) -> None:
        assert index.delete(["keys", "nobody"]) == 1
        assert index.delete(where={"animal": True}) == 2
        assert [document.id for document in index.scroll()] == ["vault"]

    def test_delete_of_nothing_in_particular_is_an_error(self, index: HybridIndex) -> None:
        with pytest.raises(ValueError, match="ids or where"):
            index.delete()
        with pytest.raises(ValueError, match="ids or where"):
            index.delete(["cat"], where={"animal": True})
        with pytest.raises(InvalidFilter, match="empty"):
            index.delete(where={})
        assert index.count() == 4

    def test_count_and_scroll_take_filters(self, index: HybridIndex) -> None:
        assert index.count({"animal": True}) == 2
        assert {document.id for document in index.scroll({"animal": False})} == {"keys", "vault"}

    def test_info_names_model_and_size(self, index: HybridIndex) -> None:
        assert index.info()["encoder"] == "toy"
        assert index.info()["documents"] == 4


class TestOpen:
    def test_a_directory_keeps_what_was_added(self, toy_encoder: ToyEncoder, tmp_path: Any) -> None:
        with HybridIndex.open(tmp_path / "kb", encoder=toy_encoder) as index:
            index.add([Document(text, id_) for id_, text in TEXTS.items()])
            expected = index.search("vault keys")
        with HybridIndex.open(tmp_path / "kb", encoder=toy_encoder, create=False) as index:
            assert index.search("vault keys") == expected

    def test_a_directory_of_another_model_is_refused(self, toy_encoder: ToyEncoder, tmp_path: Any) -> None:
        HybridIndex.open(tmp_path / "kb", encoder=toy_encoder).close()

        with pytest.raises(CollectionMismatch, match="toy"):
            HybridIndex.open(tmp_path / "kb", encoder=ToyEncoder(fingerprint="toy-2"))

    @pytest.mark.parametrize(
        ("place", "message"),
        [
            ({}, "one of them"),
            ({"path": "kb", "url": "http://localhost:6333"}, "one of them"),
            ({"path": "http://localhost:6333"}, "url="),
            ({"path": ":memory:"}, "in_memory"),
            ({"path": "kb", "api_key": "secret"}, "api_key belong to a server"),
            ({"url": "http://localhost:6333", "hnsw": True}, "hnsw belongs to a directory"),
        ],
    )
    def test_a_place_is_a_path_or_a_url(self, place: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message) as raised:
            HybridIndex.open(**place)
        assert "secret" not in str(raised.value)

    def test_a_store_of_another_encoder_is_refused(self, toy_encoder: ToyEncoder) -> None:
        with pytest.raises(CollectionMismatch, match="open the store with"):
            HybridIndex(MemoryStore(toy_encoder.spec), ToyEncoder(fingerprint="toy-2"))


def test_all_documents_come_with_the_vectors_that_are_asked_for(toy_encoder: ToyEncoder) -> None:
    index = HybridIndex.in_memory(encoder=toy_encoder)
    acme = index.for_tenant("acme")
    acme.add([{"text": "a red apple", "id": "apple"}])
    index.add([{"text": "a green pear", "id": "pear"}])

    [stored] = acme.scroll_vectors(["sparse", "late"])

    assert (stored.document.id, stored.dense) == ("apple", None)
    assert stored.late is not None
    assert stored.late.shape == (3, 8)
    assert {found.document.id for found in index.scroll_vectors()} == {"acme:apple", "pear"}
