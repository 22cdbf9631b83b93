"""LlamaIndex's MetadataFilters in, tercet's plain dict out: 14 operators, joined by and, or and not, nested.

    ==  !=  in  nin  >  >=  <  <=       as in `tercet.filters`: numbers, ISO 8601 dates, any element of a list
    contains, any, all                  the list holds this value, one of these, all of these
    text_match, text_match_insensitive  the text holds this one
    is_empty                            the key is not there, null or an empty list

A document without the key passes != and nin. `not` passes what none of its filters passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from tercet import HybridIndex
from tercet.errors import InvalidFilter
from tercet.filters import parse_filter, values_at

AnyFilters: TypeAlias = MetadataFilters | Mapping[str, Any]
Where: TypeAlias = dict[str, Any]

#: (key, test) → the filter for documents of which a text at this key passes the test.
_TextAt: TypeAlias = Callable[[str, Callable[[str], bool]], Where]

_RANGE = {FilterOperator.GT: "gt", FilterOperator.GTE: "gte", FilterOperator.LT: "lt", FilterOperator.LTE: "lte"}
_SCALAR = {FilterOperator.EQ: "eq", FilterOperator.NE: "ne", FilterOperator.CONTAINS: "eq"}
_LIST = {FilterOperator.IN: "in", FilterOperator.NIN: "nin", FilterOperator.ANY: "in"}


def where_of(filters: AnyFilters, index: HybridIndex) -> Where:
    """The filter as tercet asks it. A plain dict is passed on as it is.

    tercet compares whole values. A text_match is therefore asked as "one of the values that hold the text", which are
    read from the index: it takes as long as there are documents with the key, once for each query.

    Raises:
        InvalidFilter: an empty filter, a value that its operator cannot take.
    """

    def text_at(key: str, passes: Callable[[str], bool]) -> Where:
        values = {
            value
            for document in index.scroll({key: {"exists": True}})
            for value in values_at(document.metadata, key)
            if isinstance(value, str) and passes(value)
        }
        return {key: {"in": sorted(values)}} if values else {"and": [{key: {"exists": True}}, {key: {"exists": False}}]}

    return _where(filters, text_at)


def check_filters(filters: AnyFilters) -> None:
    """Raise InvalidFilter for what `where_of` could not translate, without an index."""
    _where(filters, lambda key, _: {key: {"exists": True}})


def _where(filters: AnyFilters, text_at: _TextAt) -> Where:
    if isinstance(filters, MetadataFilters):
        where = _joined(filters, text_at)
    elif isinstance(filters, Mapping):
        where = dict(filters)
    else:
        raise InvalidFilter(
            f"filters are a MetadataFilters or a plain dict like {{'lang': 'en'}}, got {type(filters).__name__}"
        )
    parse_filter(where)
    return where


def _joined(filters: MetadataFilters, text_at: _TextAt) -> Where:
    parts = [
        _joined(part, text_at) if isinstance(part, MetadataFilters) else _single(part, text_at)
        for part in filters.filters
    ]
    if not parts:
        raise InvalidFilter(
            "the MetadataFilters are empty, which could mean everything or nothing; leave filters out instead"
        )
    match filters.condition:
        case FilterCondition.AND | None:
            return {"and": parts}
        case FilterCondition.OR:
            return {"or": parts}
        case FilterCondition.NOT:
            return {"not": {"or": parts}}
    raise InvalidFilter(f"filters are joined by and, or or not, got {filters.condition!r}")


def _single(part: MetadataFilter, text_at: _TextAt) -> Where:
    key, value, operator = part.key, part.value, part.operator
    if operator in _SCALAR:
        return {key: {_SCALAR[operator]: value}}
    if operator in _RANGE:
        return {key: {_RANGE[operator]: value}}
    if operator in _LIST:
        return {key: {_LIST[operator]: _list(part)}}
    match operator:
        case FilterOperator.ALL:
            return {"and": [{key: {"eq": one}} for one in _list(part)]}
        case FilterOperator.IS_EMPTY:
            return {key: {"exists": False}}
        case FilterOperator.TEXT_MATCH:
            text = _text(part)
            return text_at(key, lambda found: text in found)
        case FilterOperator.TEXT_MATCH_INSENSITIVE:
            folded = _text(part).casefold()
            return text_at(key, lambda found: folded in found.casefold())
    raise InvalidFilter(f"the operator {operator!r} on {key!r} is not known to this version of tercet's integration")


def _list(part: MetadataFilter) -> list[Any]:
    if not isinstance(part.value, list) or not part.value:
        raise InvalidFilter(
            f"{part.operator.value} on {part.key!r} takes a list of at least one value, got {part.value!r}"
        )
    return part.value


def _text(part: MetadataFilter) -> str:
    if not isinstance(part.value, str) or not part.value:
        raise InvalidFilter(f"{part.operator.value} on {part.key!r} takes a text that is not empty, got {part.value!r}")
    return part.value
