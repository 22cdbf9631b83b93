"""What every framework's adapter must do with documents, in the words of none of them: one class of tests for all.

A distribution's tests subclass `AdapterContract`, say how an adapter stands over an index, and get each test for a
store in memory and an embedded one, for blocking calls and for awaited ones. The list is that of langchain-tests'
VectorStoreIntegrationTests (read 1.1.9), and filters, tenants, restarts and bad input besides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import pytest
from tercet import Document, HybridIndex
from tercet.encoders.base import Encoder
from tercet.encoders.mini import MiniEncoder

KEYS = Document("Rotate the signing keys every 90 days.", "keys", {"lang": "en", "year": 2026, "tags": ["ops", "keys"]})
CAFE = Document("The cafeteria opens at noon.", "cafe", {"lang": "en", "year": 2024, "tags": []})
CLES = Document("Les clés sont renouvelées tous les 90 jours.", "clés", {"lang": "fr", "year": 2025, "draft": True})
THREE = [KEYS, CAFE, CLES]

ODD_IDS = ["a" * 128, "with space/slash?&#", "日本", "0", "550e8400-e29b-41d4-a716-446655440000", "A", "a", "x\ny"]

EVERY_KIND = {
    "text": "ü\n\t'\"\\",
    "flag": False,
    "count": 0,
    "ratio": 0.1,
    "nothing": None,
    "list": [1, "two", None, [3]],
    "nested": {"deep": {"er": [{"key": "value"}]}, "empty": {}},
    "dotted.key": 1,
    "": "under an empty key",
    "score": 0.5,
    "relevance_score": "theirs",
    "text_key": "page_content",
    "ref_doc_id": "not ours",
}


class Adapter(Protocol):
    """A framework's store over an index, spoken to with tercet's documents and plain filters."""

    def add(self, documents: Sequence[Document]) -> list[str]: ...
    async def aadd(self, documents: Sequence[Document]) -> list[str]: ...
    def get(self, ids: Sequence[str]) -> list[Document]: ...
    async def aget(self, ids: Sequence[str]) -> list[Document]: ...
    def delete(self, ids: Sequence[str]) -> None: ...
    async def adelete(self, ids: Sequence[str]) -> None: ...
    def search(self, query: str, k: int, where: Mapping[str, Any] | None = None) -> list[Document]: ...
    async def asearch(self, query: str, k: int, where: Mapping[str, Any] | None = None) -> list[Document]: ...


class Caller:
    """An adapter whose methods are all awaited: the blocking ones of it, or the others."""

    def __init__(self, adapter: Adapter, *, awaited: bool) -> None:
        self._adapter = adapter
        self._awaited = awaited

    async def add(self, documents: Sequence[Document]) -> list[str]:
        return await self._adapter.aadd(documents) if self._awaited else self._adapter.add(documents)

    async def get(self, ids: Sequence[str]) -> list[Document]:
        return await self._adapter.aget(ids) if self._awaited else self._adapter.get(ids)

    async def delete(self, ids: Sequence[str]) -> None:
        if self._awaited:
            await self._adapter.adelete(ids)
        else:
            self._adapter.delete(ids)

    async def search(self, query: str, k: int = 10, where: Mapping[str, Any] | None = None) -> list[Document]:
        return await (self._adapter.asearch(query, k, where) if self._awaited else _now(self._adapter, query, k, where))


async def _now(adapter: Adapter, query: str, k: int, where: Mapping[str, Any] | None) -> list[Document]:
    return adapter.search(query, k, where)


@lru_cache
def shared_encoder() -> Encoder:
    """One for all tests of a process; one thread, so that tests beside each other stay quick."""
    return MiniEncoder(threads=1)


def opened(kind: str, folder: Path) -> HybridIndex:
    """An empty index: "memory" or "embedded"."""
    if kind == "memory":
        return HybridIndex.in_memory(encoder=shared_encoder())
    return HybridIndex.open(folder / "kb", encoder=shared_encoder())


def ids_of(documents: Sequence[Document]) -> list[str]:
    return [document.id for document in documents]


class AdapterContract:
    """Subclass it as `class TestOurs(AdapterContract)` and override `adapter_over`."""

    def adapter_over(self, index: HybridIndex) -> Adapter:
        raise NotImplementedError

    @pytest.fixture(params=["memory", "embedded"])
    def index(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HybridIndex]:
        with opened(request.param, tmp_path) as index:
            yield index

    @pytest.fixture(params=["blocking", "awaited"])
    def awaited(self, request: pytest.FixtureRequest) -> bool:
        return bool(request.param == "awaited")

    @pytest.fixture
    def adapter(self, index: HybridIndex, awaited: bool) -> Caller:
        return Caller(self.adapter_over(index), awaited=awaited)

    # --- documents in and out ---

    async def test_a_new_store_is_empty(self, adapter: Caller) -> None:
        assert await adapter.search("keys") == []

    async def test_what_was_added_is_found_whole_and_at_once(self, adapter: Caller) -> None:
        assert await adapter.add(THREE) == ["keys", "cafe", "clés"]

        found = await adapter.search("how often must we rotate keys?", k=3)

        assert found[0] == KEYS
        assert sorted(found, key=lambda document: document.id) == sorted(THREE, key=lambda document: document.id)

    async def test_adding_nothing_writes_nothing(self, adapter: Caller, index: HybridIndex) -> None:
        assert await adapter.add([]) == []
        assert index.count() == 0

    async def test_adding_twice_is_adding_once(self, adapter: Caller, index: HybridIndex) -> None:
        await adapter.add(THREE)
        await adapter.add(THREE)

        assert index.count() == 3
        assert len(await adapter.search("keys", k=10)) == 3

    async def test_adding_under_a_stored_id_replaces_text_and_metadata(self, adapter: Caller) -> None:
        await adapter.add(THREE)
        changed = Document("Keys are rotated by a robot.", "keys", {"lang": "en", "by": "robot"})
        assert await adapter.add([changed, Document("A new one.", "new")]) == ["keys", "new"]

        assert await adapter.get(["keys"]) == [changed]
        assert sorted(ids_of(await adapter.search("keys", k=10))) == ["cafe", "clés", "keys", "new"]

    async def test_changed_metadata_alone_are_written(self, adapter: Caller) -> None:
        await adapter.add(THREE)
        await adapter.add([Document(KEYS.text, "keys", {"lang": "de"})])

        assert (await adapter.search("keys", k=1, where={"lang": "de"}))[0].metadata == {"lang": "de"}

    async def test_get_keeps_the_order_asked_for_and_passes_over_unknown_ids(self, adapter: Caller) -> None:
        await adapter.add(THREE)

        assert await adapter.get(["clés", "nobody", "keys"]) == [CLES, KEYS]
        assert await adapter.get([]) == []
        assert await adapter.get(["nobody"]) == []

    async def test_deleted_documents_are_gone_and_the_others_stay(self, adapter: Caller) -> None:
        await adapter.add(THREE)
        await adapter.delete(["keys", "clés"])

        assert await adapter.search("keys", k=10) == [CAFE]
        assert await adapter.get(["keys", "clés"]) == []

    async def test_deleting_unknown_ids_or_none_changes_nothing(self, adapter: Caller, index: HybridIndex) -> None:
        await adapter.add(THREE)
        await adapter.delete(["nobody"])
        await adapter.delete([])

        assert index.count() == 3

    async def test_a_deleted_id_can_be_used_again(self, adapter: Caller) -> None:
        await adapter.add([KEYS])
        await adapter.delete(["keys"])
        await adapter.add([KEYS])

        assert await adapter.get(["keys"]) == [KEYS]

    async def test_any_string_is_an_id(self, adapter: Caller) -> None:
        documents = [Document(f"Sentence number {number}.", id_) for number, id_ in enumerate(ODD_IDS)]

        assert await adapter.add(documents) == ODD_IDS
        assert await adapter.get(ODD_IDS) == documents
        assert set(ids_of(await adapter.search("sentence", k=20))) == set(ODD_IDS)

    async def test_metadata_of_every_kind_come_back_as_they_were_given(self, adapter: Caller) -> None:
        await adapter.add([Document("A text.", "every", EVERY_KIND)])

        assert (await adapter.get(["every"]))[0].metadata == EVERY_KIND
        assert (await adapter.search("text", k=1))[0].metadata == EVERY_KIND

    async def test_a_text_comes_back_letter_by_letter(self, adapter: Caller) -> None:
        text = "  First line\r\n\r\n\tsecond — “quoted” 😀 \u200d end  "
        await adapter.add([Document(text, "text")])

        assert (await adapter.get(["text"]))[0].text == text

    # --- questions ---

    @pytest.mark.parametrize("k", [1, 2, 3])
    async def test_k_documents_are_found(self, adapter: Caller, k: int) -> None:
        await adapter.add(THREE)

        assert len(await adapter.search("a question about something else entirely", k=k)) == k

    async def test_more_than_is_stored_finds_all(self, adapter: Caller) -> None:
        await adapter.add(THREE)

        assert len(await adapter.search("keys", k=500)) == 3

    async def test_the_same_question_has_the_same_answer(self, adapter: Caller) -> None:
        await adapter.add([Document("The same sentence.", f"id{number}") for number in range(20)])

        assert ids_of(await adapter.search("sentence", k=9)) == ids_of(await adapter.search("sentence", k=9))

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ({"lang": "en"}, ["cafe", "keys"]),
            ({"lang": ["fr", "de"]}, ["clés"]),
            ({"year": {"gte": 2025, "lt": 2026}}, ["clés"]),
            ({"tags": "ops"}, ["keys"]),
            ({"draft": True}, ["clés"]),
            ({"tags": {"exists": False}}, ["cafe", "clés"]),
            ({"lang": {"ne": "en"}}, ["clés"]),
            ({"or": [{"year": 2024}, {"not": {"lang": "en"}}]}, ["cafe", "clés"]),
            ({"lang": "en", "year": 2025}, []),
        ],
        ids=str,
    )
    async def test_a_filter_passes_what_it_names(
        self, adapter: Caller, where: dict[str, Any], expected: list[str]
    ) -> None:
        await adapter.add(THREE)

        assert sorted(ids_of(await adapter.search("keys", k=10, where=where))) == expected

    async def test_a_narrow_filter_finds_what_no_pool_would_hold(self, adapter: Caller) -> None:
        await adapter.add([Document(f"Rotate key number {number}.", f"key{number}") for number in range(150)])
        await adapter.add([CAFE])

        assert await adapter.search("rotate keys", k=1, where={"lang": "en"}) == [CAFE]

    async def test_tenants_never_meet(self, index: HybridIndex, awaited: bool) -> None:
        acme, other = (Caller(self.adapter_over(index.for_tenant(name)), awaited=awaited) for name in ("acme", "other"))
        await acme.add([Document("Our keys.", "one")])
        await other.add([Document("Their keys.", "one")])
        await other.delete(["one"])

        assert await acme.get(["one"]) == [Document("Our keys.", "one", {"tenant": "acme"})]
        assert ids_of(await acme.search("keys")) == ["one"]
        assert await other.search("keys") == []

    async def test_a_restart_loses_nothing(self, tmp_path: Path, awaited: bool) -> None:
        with opened("embedded", tmp_path) as index:
            await Caller(self.adapter_over(index), awaited=awaited).add(THREE)
        with opened("embedded", tmp_path) as index:
            adapter = Caller(self.adapter_over(index), awaited=awaited)

            assert await adapter.get(["keys", "cafe", "clés"]) == THREE
            assert (await adapter.search("rotate the keys", k=1)) == [KEYS]

    # --- bad input ---

    @pytest.mark.parametrize("query", ["", " \n\t"])
    async def test_an_empty_query_is_refused(self, adapter: Caller, query: str) -> None:
        await adapter.add(THREE)

        with pytest.raises(ValueError, match="empty"):
            await adapter.search(query, k=1)

    @pytest.mark.parametrize("k", [0, -1])
    async def test_no_hits_at_all_cannot_be_asked_for(self, adapter: Caller, k: int) -> None:
        await adapter.add(THREE)

        with pytest.raises(ValueError, match="at least 1"):
            await adapter.search("keys", k=k)

    @pytest.mark.parametrize(
        "where", [{}, {"lang": []}, {"lang": {"like": "e%"}}, {"lang": None}, {"and": []}], ids=str
    )
    async def test_a_filter_on_nothing_or_unreadable_is_refused(self, adapter: Caller, where: dict[str, Any]) -> None:
        await adapter.add(THREE)

        with pytest.raises(ValueError, match=r"filter|operator|equals|list|lang"):
            await adapter.search("keys", k=1, where=where)
