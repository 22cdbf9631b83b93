"""Filters of three kinds. What a `models.Filter` means is asked of Qdrant's own client."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.structured_query import (
    Comparator,
    Comparison,
    FilterDirective,
    Operation,
    Operator,
    StructuredQuery,
)
from qdrant_client import QdrantClient, models
from tercet import HybridIndex
from tercet.encoders.mini import MiniEncoder
from tercet.errors import InvalidFilter

from langchain_tercet import TercetTranslator, TercetVectorStore, to_where

METADATA: list[dict[str, Any]] = [
    {"lang": "en", "year": 2024, "tags": ["a", "b"], "author": {"name": "Ada"}, "done": True},
    {"lang": "en", "year": 2026, "tags": ["b"], "author": {"name": "Bob"}, "made": "2024-05-01T10:00:00Z"},
    {"lang": "de", "year": 2025, "tags": [], "made": "2025-01-01", "done": False},
    {"lang": "fr", "tags": None, "cities": [{"name": "Lyon", "size": 5}, {"name": "Nice", "size": 3}]},
    {"year": 2023, "cities": [{"name": "Rome", "size": 9}], "a.b": "dotted"},
    {},
]

equals = models.MatchValue


def field(key: str, **check: Any) -> models.FieldCondition:
    return models.FieldCondition(key=key, **check)


def nested(key: str, **filter: Any) -> models.NestedCondition:
    return models.NestedCondition(nested=models.Nested(key=key, filter=models.Filter(**filter)))


def empty(key: str) -> models.IsEmptyCondition:
    return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))


def value(key: str, wanted: Any) -> models.FieldCondition:
    return field(key, match=models.MatchValue(value=wanted))


LANG = value("metadata.lang", "en")
YEAR = field("metadata.year", range=models.Range(gte=2024, lt=2026))
TAG = value("metadata.tags", "b")
ADA = value("metadata.author.name", "Ada")
CITY = value("name", "Lyon")
BIG = field("size", range=models.Range(gt=4))
MORNING = datetime.datetime(2024, 5, 1, 10, tzinfo=datetime.UTC)
NEW_YEAR = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)

SAYABLE = {
    "must": models.Filter(must=[LANG, YEAR]),
    "must, one": models.Filter(must=LANG),
    "should": models.Filter(should=[ADA, value("metadata.lang", "de")]),
    "must_not": models.Filter(must_not=[LANG, TAG]),
    "all three": models.Filter(must=[LANG], should=[YEAR, TAG], must_not=[ADA]),
    "an empty list is no condition": models.Filter(must=[], should=[LANG]),
    "min_should 1": models.Filter(min_should=models.MinShould(conditions=[LANG, YEAR, TAG], min_count=1)),
    "min_should 2": models.Filter(min_should=models.MinShould(conditions=[LANG, YEAR, TAG], min_count=2)),
    "min_should 3": models.Filter(min_should=models.MinShould(conditions=[LANG, YEAR, TAG], min_count=3)),
    "min_should and must": models.Filter(must=[TAG], min_should=models.MinShould(conditions=[LANG, ADA], min_count=2)),
    "a filter in a filter": models.Filter(should=[models.Filter(must=[LANG, ADA]), models.Filter(must_not=[LANG])]),
    "a whole number": models.Filter(must=[value("metadata.year", 2025)]),
    "a boolean": models.Filter(must=[value("metadata.done", False)]),
    "any": models.Filter(must=[field("metadata.lang", match=models.MatchAny(any=["de", "fr"]))]),
    "any number": models.Filter(must=[field("metadata.year", match=models.MatchAny(any=[2023, 2026]))]),
    "except": models.Filter(must=[field("metadata.lang", match=models.MatchExcept(**{"except": ["en", "fr"]}))]),
    "range": models.Filter(must=[field("metadata.year", range=models.Range(gt=2023, lte=2025))]),
    "dates": models.Filter(must=[field("metadata.made", range=models.DatetimeRange(gte=MORNING))]),
    "until a day": models.Filter(must=[field("metadata.made", range=models.DatetimeRange(lt=NEW_YEAR))]),
    "is empty": models.Filter(must=[empty("metadata.tags")]),
    "is not empty": models.Filter(must_not=[empty("metadata.year")]),
    "elements": models.Filter(must=[value("metadata.tags[]", "a")]),
    "elements on the way": models.Filter(must=[value("metadata.cities[].name", "Nice")]),
    "quoted": models.Filter(must=[value('metadata."a.b"', "dotted")]),
    "ids": models.Filter(must=[models.HasIdCondition(has_id=[1, 3, 7])]),
    "other ids": models.Filter(must=[LANG], must_not=[models.HasIdCondition(has_id=[1])]),
    "nested, one": models.Filter(must=[nested("metadata.cities", must=[CITY])]),
    "nested, any": models.Filter(must=[nested("metadata.cities", should=[CITY, BIG])]),
    "not nested": models.Filter(must_not=[nested("metadata.cities[]", must=[BIG])]),
}


@pytest.fixture(scope="module")
def qdrant() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    client.create_collection("c", vectors_config=models.VectorParams(size=1, distance=models.Distance.DOT))
    points = [models.PointStruct(id=n, vector=[1.0], payload={"metadata": m}) for n, m in enumerate(METADATA)]
    client.upsert("c", points)
    yield client
    client.close()


@pytest.fixture(scope="module")
def store(encoder: MiniEncoder) -> TercetVectorStore:
    store = TercetVectorStore(HybridIndex.in_memory(encoder=encoder))
    store.add_texts([f"text {n}" for n in range(len(METADATA))], METADATA, ids=map(str, range(len(METADATA))))
    return store


def passing(store: TercetVectorStore, where: dict[str, Any] | None) -> set[int]:
    assert where is not None
    return {int(document.id) for document in store.index.scroll(where)}


@pytest.mark.parametrize("filter", SAYABLE.values(), ids=SAYABLE)
def test_a_filter_of_qdrant_passes_what_qdrant_passes(
    qdrant: QdrantClient, store: TercetVectorStore, filter: models.Filter
) -> None:
    points, _ = qdrant.scroll("c", scroll_filter=filter)
    expected = {int(point.id) for point in points}

    assert passing(store, to_where(filter)) == expected
    assert 0 < len(expected) < len(METADATA)


def test_the_key_may_stand_without_metadata() -> None:
    assert to_where(models.Filter(must=[value("lang", "en")])) == {"lang": {"eq": "en"}}
    assert to_where(models.Filter(must=[value("metadata.lang", "en")])) == {"lang": {"eq": "en"}}
    assert to_where(models.Filter(must=[value("metadata.metadata.lang", "en")])) == {"metadata.lang": {"eq": "en"}}


nested_pair = nested("cities", must=[CITY, BIG])
nested_not = nested("cities", must_not=[CITY])
nested_mixed = nested("cities", must=[CITY], should=[BIG, CITY])

UNSAYABLE = {
    "nothing": (models.Filter(), "the Filter is empty"),
    "nothing in lists": (models.Filter(must=[], must_not=[]), "the Filter is empty"),
    "nothing within": (models.Filter(must=[models.Filter()]), "the Filter is empty"),
    "vectors": (models.Filter(must=[models.HasVectorCondition(has_vector="dense")]), "HasVectorCondition"),
    "null": (
        models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="lang"))]),
        "is_null on 'lang' .* use is_empty",
    ),
    "null, the other way": (models.Filter(must=[field("lang", is_null=True)]), "is_null on 'lang'"),
    "text": (models.Filter(must=[field("lang", match=models.MatchText(text="e"))]), "MatchText on 'lang'"),
    "geography": (
        models.Filter(must=[field("at", geo_radius=models.GeoRadius(center=models.GeoPoint(lon=0, lat=0), radius=1))]),
        "geo_radius on 'at'",
    ),
    "counts": (models.Filter(must=[field("tags", values_count=models.ValuesCount(gt=1))]), "values_count on 'tags'"),
    "two in one": (
        models.Filter(must=[field("year", match=equals(value=1), range=models.Range(gt=1))]),
        "says match and range",
    ),
    "a field alone": (models.Filter(must=[field("year")]), "says nothing"),
    "a range of nothing": (models.Filter(must=[field("year", range=models.Range())]), "has no bounds"),
    "one element by number": (models.Filter(must=[value("tags[0]", "a")]), r"the key 'tags\[0\]' cannot be read"),
    "all metadata": (models.Filter(must=[value("metadata", "a")]), "name a key"),
    "the text": (models.Filter(must=[value("page_content", "a")]), "page_content is the text"),
    "a dot too many": (models.Filter(must=[value("metadata.lang.", "a")]), "cannot be read"),
    "one element and two conditions": (models.Filter(must=[nested_pair]), "the nested filter on 'cities'"),
    "an element that is not": (models.Filter(must=[nested_not]), "the nested filter on 'cities'"),
    "must and should of one element": (models.Filter(must=[nested_mixed]), "the nested filter on 'cities'"),
    "more than there are": (
        models.Filter(min_should=models.MinShould(conditions=[LANG], min_count=2)),
        "asks for 2 of 1 conditions",
    ),
    "none at all": (
        models.Filter(min_should=models.MinShould(conditions=[LANG], min_count=0)),
        "asks for 0 of 1 conditions",
    ),
    "too many ways": (
        models.Filter(min_should=models.MinShould(conditions=[LANG] * 20, min_count=10)),
        "an 'or' of 184,756 parts",
    ),
}


@pytest.mark.parametrize(("filter", "told"), UNSAYABLE.values(), ids=UNSAYABLE)
def test_what_cannot_be_said_exactly_is_named(filter: models.Filter, told: str) -> None:
    with pytest.raises(InvalidFilter, match=told):
        to_where(filter)


@pytest.mark.parametrize("filter", [{}, [], "lang == 'en'", 7, models.Range(gt=1), {"lang": {"like": "e%"}}])
def test_what_is_no_filter_is_refused(filter: Any) -> None:
    with pytest.raises(InvalidFilter):
        to_where(filter)


def test_a_plain_dict_is_passed_on() -> None:
    where = {"or": [{"lang": "en"}, {"year": {"gte": 2024}}]}

    assert to_where(where) == where
    assert to_where(None) is None


# --- LangChain's structured query ---

EQ, NE, GT, GTE, LT, LTE = (Comparator(name) for name in ("eq", "ne", "gt", "gte", "lt", "lte"))
DAY = {"date": "2025-01-01", "type": "date"}
NOON = {"datetime": "2024-05-01T12:00:00+02:00", "type": "datetime"}

STRUCTURED: list[tuple[FilterDirective, set[int]]] = [  # which of METADATA pass, read off by hand
    (Comparison(EQ, "lang", "en"), {0, 1}),
    (Comparison(EQ, "metadata.lang", "en"), {0, 1}),
    (Comparison(NE, "lang", "en"), {2, 3, 4, 5}),
    (Comparison(GT, "year", 2024), {1, 2}),
    (Comparison(GTE, "year", 2025), {1, 2}),
    (Comparison(LT, "year", 2024), {4}),
    (Comparison(LTE, "year", 2024), {0, 4}),
    (Comparison(Comparator.IN, "lang", ["de", "fr"]), {2, 3}),
    (Comparison(Comparator.NIN, "lang", ["de", "fr"]), {0, 1, 4, 5}),
    (Comparison(Comparator.CONTAIN, "tags", "b"), {0, 1}),
    (Comparison(GTE, "made", DAY), {2}),
    (Comparison(EQ, "made", NOON), {1}),
    (Operation(Operator.AND, [Comparison(EQ, "lang", "en"), Comparison(GT, "year", 2024)]), {1}),
    (Operation(Operator.OR, [Comparison(EQ, "lang", "de"), Comparison(GT, "year", 2025)]), {1, 2}),
    (Operation(Operator.NOT, [Comparison(EQ, "lang", "en")]), {2, 3, 4, 5}),
    (
        Operation(
            Operator.AND,
            [Comparison(EQ, "lang", "en"), Operation(Operator.NOT, [Comparison(Comparator.CONTAIN, "tags", "a")])],
        ),
        {1},
    ),
]


@pytest.mark.parametrize(("filter", "expected"), STRUCTURED)
def test_a_structured_filter_passes_what_it_says(
    store: TercetVectorStore, filter: FilterDirective, expected: set[int]
) -> None:
    query, asked = TercetTranslator().visit_structured_query(StructuredQuery(query="q", filter=filter))

    assert query == "q"
    assert passing(store, asked["filter"]) == expected
    assert to_where(filter) == asked["filter"]


def test_a_structured_query_without_a_filter_has_no_arguments() -> None:
    assert TercetTranslator().visit_structured_query(StructuredQuery(query="q", filter=None)) == ("q", {})


@pytest.mark.parametrize(
    ("filter", "told"),
    [
        (Comparison(Comparator.LIKE, "lang", "e%"), "'like' on 'lang' has no counterpart"),
        (Comparison(GT, "made", {"date": "May", "type": "date"}), "'May' is no date"),
        (Comparison(GT, "lang", "en"), "takes a finite number or a date"),
        (Operation(Operator.NOT, [Comparison(EQ, "a", 1), Comparison(EQ, "b", 1)]), "'not' takes one argument"),
        (Operation(Operator.AND, []), "'and' has no arguments"),
    ],
)
def test_what_a_structured_filter_cannot_say_is_named(filter: FilterDirective, told: str) -> None:
    with pytest.raises(InvalidFilter, match=told):
        to_where(filter)


def test_like_is_not_offered_to_the_model() -> None:
    assert Comparator.LIKE not in TercetTranslator.allowed_comparators
    assert set(TercetTranslator.allowed_comparators) == set(Comparator) - {Comparator.LIKE}


def test_a_translated_query_searches(store: TercetVectorStore) -> None:
    asked = StructuredQuery(query="text", filter=STRUCTURED[-1][0])

    query, arguments = TercetTranslator().visit_structured_query(asked)

    assert [document.id for document in store.similarity_search(query, **arguments)] == ["1"]
