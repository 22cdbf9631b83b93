"""MetadataFilters as tercet's plain dict; that they pass the right nodes is the contract's to say."""

from typing import Any

import pytest
from llama_index.core.vector_stores.types import (
    ExactMatchFilter,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index.retrievers.tercet.filters import check_filters, where_of
from tercet import Document, HybridIndex
from tercet.errors import InvalidFilter

OP = FilterOperator


def of(operator: FilterOperator, value: Any, key: str = "key") -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])


def test_a_filter_is_said_in_tercet_s_words(memory_index: HybridIndex) -> None:
    filters = MetadataFilters(
        filters=[
            ExactMatchFilter(key="lang", value="en"),
            MetadataFilters(
                filters=[
                    MetadataFilter(key="year", value=2024, operator=OP.GTE),
                    MetadataFilter(key="author.name", value=["Ada", "Bob"], operator=OP.NIN),
                ],
                condition=FilterCondition.NOT,
            ),
        ],
        condition=FilterCondition.OR,
    )

    assert where_of(filters, memory_index) == {
        "or": [
            {"lang": {"eq": "en"}},
            {"not": {"or": [{"year": {"gte": 2024}}, {"author.name": {"nin": ["Ada", "Bob"]}}]}},
        ]
    }


def test_a_plain_dict_is_passed_on(memory_index: HybridIndex) -> None:
    assert where_of({"lang": ["en", "de"]}, memory_index) == {"lang": ["en", "de"]}


def test_no_condition_is_and(memory_index: HybridIndex) -> None:
    filters = MetadataFilters(filters=[ExactMatchFilter(key="a", value=1)], condition=None)

    assert where_of(filters, memory_index) == {"and": [{"a": {"eq": 1}}]}


def test_dates_are_compared_as_dates(memory_index: HybridIndex) -> None:
    memory_index.add([Document("Old.", "old", {"made": "2023-12-31"}), Document("New.", "new", {"made": "2024-06-01"})])

    found = memory_index.scroll(where_of(of(OP.GT, "2024-01-01T00:00:00Z", "made"), memory_index))
    assert [document.id for document in found] == ["new"]


@pytest.mark.parametrize(
    ("operator", "text", "expected"),
    [
        (OP.TEXT_MATCH, "straße", ["list", "street"]),
        (OP.TEXT_MATCH, "STRASSE", []),
        (OP.TEXT_MATCH_INSENSITIVE, "STRASSE", ["list", "street"]),
        (OP.TEXT_MATCH_INSENSITIVE, "haupt", ["nested", "street"]),
    ],
)
def test_text_is_matched_as_it_stands_or_folded(
    memory_index: HybridIndex, operator: FilterOperator, text: str, expected: list[str]
) -> None:
    memory_index.add(
        [
            Document("One.", "street", {"where": "Hauptstraße 3"}),
            Document("Two.", "list", {"where": ["am Ring", "Gartenstraße 1", 7, None]}),
            Document("Three.", "number", {"where": 3}),
            Document("Four.", "nested", {"where": ["Hauptplatz", ["straße"]]}),
        ],
        progress=False,
    )
    found = memory_index.scroll(where_of(of(operator, text, "where"), memory_index))

    assert sorted(document.id for document in found) == expected


@pytest.mark.parametrize(
    "filters",
    [
        MetadataFilters(filters=[]),
        MetadataFilters(filters=[MetadataFilters(filters=[])]),
        of(OP.EQ, None),
        of(OP.EQ, ["a"]),
        of(OP.GT, "later"),
        of(OP.LT, ["a"]),
        of(OP.IN, "a,b"),
        of(OP.IN, []),
        of(OP.NIN, 3),
        of(OP.ANY, "a"),
        of(OP.ALL, []),
        of(OP.CONTAINS, None),
        of(OP.TEXT_MATCH, ""),
        of(OP.TEXT_MATCH, 3),
        of(OP.TEXT_MATCH_INSENSITIVE, None),
        of(OP.EQ, 1, key=""),
        of(OP.EQ, 1, key="a..b"),
        of(OP.GT, "a", key="$id"),
        {},
        {"key": {"like": "a%"}},
        [ExactMatchFilter(key="a", value=1)],
    ],
    ids=lambda filters: str(filters)[-70:],
)
def test_what_cannot_be_asked_is_refused_with_or_without_an_index(memory_index: HybridIndex, filters: Any) -> None:
    with pytest.raises(InvalidFilter):
        check_filters(filters)
    with pytest.raises(InvalidFilter):
        where_of(filters, memory_index)


def test_the_error_says_what_is_wrong_with_which_operator() -> None:
    with pytest.raises(InvalidFilter, match=r"in on 'key' takes a list of at least one value, got 'a,b'"):
        check_filters(of(OP.IN, "a,b"))
