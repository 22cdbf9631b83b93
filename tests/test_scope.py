from __future__ import annotations

from pathlib import Path

import pytest

from tercet import Document, HybridIndex
from tests.toys import ToyEncoder


@pytest.fixture(params=["memory", "edge"])
def index(request: pytest.FixtureRequest, tmp_path: Path, toy_encoder: ToyEncoder) -> HybridIndex:
    if request.param == "memory":
        return HybridIndex.in_memory(encoder=toy_encoder)
    return HybridIndex.open(tmp_path / "kb", encoder=toy_encoder)


@pytest.fixture
def views(index: HybridIndex) -> tuple[HybridIndex, HybridIndex]:
    """Two tenants with a document of the same id, and one of the same text without an id."""
    ada, bob = index.for_tenant("ada"), index.for_tenant("bob")
    ada.add([Document("the red apple", "1"), "a shared sentence"])
    bob.add([Document("the red pear", "1", {"lang": "en"}), "a shared sentence"])
    return ada, bob


def test_a_view_finds_only_its_own(views: tuple[HybridIndex, HybridIndex]) -> None:
    ada, bob = views

    assert {hit.text for hit in ada.search("the red pear", k=10)} == {"the red apple", "a shared sentence"}
    assert {hit.text for hit in bob.search("the red pear", k=10)} == {"the red pear", "a shared sentence"}
    assert ada.search("pear", where={"lang": "en"}) == []
    assert {hit.metadata["tenant"] for hit in ada.search("the red pear", k=10)} == {"ada"}


def test_a_filter_cannot_talk_a_view_out_of_its_own(views: tuple[HybridIndex, HybridIndex]) -> None:
    ada, _ = views

    assert ada.search("pear", where={"tenant": "bob"}) == []
    assert ada.count({"or": [{"tenant": "bob"}, {"lang": {"exists": True}}]}) == 0
    assert ada.delete(where={"tenant": "bob"}) == 0


def test_the_same_id_in_two_tenants_is_two_documents(
    index: HybridIndex, views: tuple[HybridIndex, HybridIndex]
) -> None:
    ada, bob = views

    assert [document.text for document in ada.get(["1"])] == ["the red apple"]
    assert [document.text for document in bob.get(["1"])] == ["the red pear"]
    assert {hit.id for hit in ada.search("apple", k=10)} >= {"1"}
    assert index.count() == 4


def test_what_a_view_deletes_is_its_own(index: HybridIndex, views: tuple[HybridIndex, HybridIndex]) -> None:
    ada, bob = views

    assert ada.delete(["1", "bob:1"]) == 1
    assert bob.get(["1"])
    assert ada.delete(where={"tenant": {"exists": True}}) == 1
    assert (ada.count(), bob.count(), index.count()) == (0, 2, 2)


def test_reading_by_id_shows_nothing_of_others(views: tuple[HybridIndex, HybridIndex]) -> None:
    ada, bob = views

    assert ada.get(["bob:1"]) == []
    assert list(ada.dense_vectors(["1", "bob:1"])) == ["1"]
    assert {document.text for document in bob.scroll()} == {"the red pear", "a shared sentence"}
    assert bob.info()["documents"] == 2


def test_every_stage_and_ranking_of_a_view_is_its_own(views: tuple[HybridIndex, HybridIndex]) -> None:
    ada, _ = views
    own = {document.id for document in ada.scroll()}

    trace = ada.rankings(["the red pear sentence"])[0]

    assert {scored.id for ranking in trace.values() for scored in ranking} == own
    assert {hit.id for hit in ada.nearest(ada.encoder.encode_query("pear").dense, k=10)} == own


def test_a_filter_by_id_names_the_views_own_ids(views: tuple[HybridIndex, HybridIndex]) -> None:
    ada, bob = views

    assert [hit.text for hit in ada.search("red", where={"$id": "1"})] == ["the red apple"]
    assert bob.count({"not": {"$id": ["1", "2"]}}) == 1
    assert ada.count({"$id": "bob:1"}) == 0


def test_reports_name_the_callers_ids(views: tuple[HybridIndex, HybridIndex]) -> None:
    ada, _ = views

    report = ada.add([Document("the red apple", "1"), Document("new", "2"), Document("x", "3", {"tenant": "bob"})])

    assert (report.added, report.skipped) == (("2",), ("1",))
    assert "names another tenant than 'ada'" in report.failed[0].reason


def test_documents_written_past_a_view_are_seen_and_not_overwritten_by_others(index: HybridIndex) -> None:
    index.add([Document("written directly", "raw", {"tenant": "ada"}), Document("of bob", "ada:9", {"tenant": "bob"})])
    ada = index.for_tenant("ada")

    assert [document.id for document in ada.get(["raw", "9"])] == ["raw"]
    report = ada.add(Document("of ada", "9"))

    assert "not in this view" in report.failed[0].reason
    assert index.get(["ada:9"])[0].text == "of bob"
    assert ada.delete(["raw"]) == 1


def test_names_with_colons_do_not_meet(index: HybridIndex) -> None:
    index.for_tenant("a").add(Document("one", "b:c"))
    index.for_tenant("a:b").add(Document("two", "c"))

    assert index.count() == 2
    assert [document.text for document in index.for_tenant("a").get(["b:c"])] == ["one"]


def test_closing_a_view_closes_nothing(index: HybridIndex) -> None:
    with index.for_tenant("ada") as view:
        view.add("a red apple")

    assert index.count() == 1


@pytest.mark.parametrize("name", ["", "  ", None, 7])
def test_a_tenant_without_a_name_is_refused(index: HybridIndex, name: object) -> None:
    with pytest.raises(ValueError, match="a tenant is a name"):
        index.for_tenant(name)  # type: ignore[arg-type]


def test_a_view_of_a_view_and_a_dotted_key_are_refused(index: HybridIndex) -> None:
    with pytest.raises(ValueError, match="view already"):
        index.for_tenant("ada").for_tenant("bob")
    with pytest.raises(ValueError, match="without a dot"):
        index.for_tenant("ada", key="a.b")
