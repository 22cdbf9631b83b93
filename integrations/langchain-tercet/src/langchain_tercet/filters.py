"""A filter in LangChain's or Qdrant's words in, tercet's plain dict out.

`to_where` takes what callers have at hand:

    {"lang": "en", "year": {"gte": 2024}}                       tercet's own, see `tercet.filters`; passed on as it is
    models.Filter(must=[models.FieldCondition(...)])            Qdrant's, as langchain-qdrant takes it
    Comparison(Comparator.EQ, "lang", "en")                     LangChain's, as a self-query makes it

Of Qdrant's, a key may be "metadata.lang" or "lang". What has no exact counterpart raises `InvalidFilter` and names it:
a filter that is a little wider than it was meant is a leak.

That is full text, geography, counts, vectors and "null, but there". `MatchExcept` passes a list only if none of its
elements is named, as LangChain's NIN.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from langchain_core.structured_query import FilterDirective
from tercet.errors import InvalidFilter
from tercet.filters import ID, parse_filter

from langchain_tercet.translator import TercetTranslator

if TYPE_CHECKING:
    from qdrant_client import models

AnyFilter: TypeAlias = "Mapping[str, Any] | models.Filter | FilterDirective"

#: `min_should` is said as an "or" of "and"s; more of them than this is no filter but a mistake.
_MAX_COMBINATIONS = 256


def to_where(filter: AnyFilter | None) -> dict[str, Any] | None:
    """The plain dict that `HybridIndex` takes, read once so that a mistake shows here; None stays None.

    Raises:
        InvalidFilter: an empty filter, an unknown operator, a condition that tercet cannot say.
    """
    if filter is None:
        return None
    where: dict[str, Any]
    if isinstance(filter, Mapping):
        where = dict(filter)
    elif isinstance(filter, FilterDirective):
        where = filter.accept(TercetTranslator())
    elif type(filter).__module__.startswith("qdrant_client.http.") and type(filter).__name__ == "Filter":
        where = _filter(filter)
    else:
        raise InvalidFilter(
            f"a filter is a dict like {{'lang': 'en'}}, a qdrant_client.models.Filter or a LangChain Comparison or "
            f"Operation, got {type(filter).__name__}"
        )
    parse_filter(where)
    return where


def both(first: dict[str, Any] | None, second: dict[str, Any] | None) -> dict[str, Any] | None:
    """The filter that passes what both pass."""
    return {"and": [first, second]} if first and second else first or second


# --- Qdrant's ---


def _filter(filter: models.Filter, prefix: str = "") -> dict[str, Any]:
    """`prefix` is the key of the nested condition that holds the filter, with its dot."""
    parts = [_condition(condition, prefix) for condition in _listed(filter.must)]
    if should := [_condition(condition, prefix) for condition in _listed(filter.should)]:
        parts.append(_any_of(should))
    parts += [{"not": _condition(condition, prefix)} for condition in _listed(filter.must_not)]
    if filter.min_should is not None:
        parts.append(_at_least(filter.min_should, prefix))
    if not parts:
        raise InvalidFilter(
            "the Filter is empty, which could mean everything or nothing; leave it out, or give it must, should, "
            "must_not or min_should"
        )
    return parts[0] if len(parts) == 1 else {"and": parts}


def _listed(conditions: Any) -> list[Any]:
    if conditions is None:
        return []
    return list(conditions) if isinstance(conditions, list) else [conditions]


def _any_of(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return parts[0] if len(parts) == 1 else {"or": parts}


def _at_least(min_should: models.MinShould, prefix: str) -> dict[str, Any]:
    parts = [_condition(condition, prefix) for condition in min_should.conditions]
    count = min_should.min_count
    if not 1 <= count <= len(parts):
        raise InvalidFilter(
            f"min_should asks for {count} of {len(parts)} conditions; ask for at least 1 and at most all of them"
        )
    if math.comb(len(parts), count) > _MAX_COMBINATIONS:
        raise InvalidFilter(
            f"min_should asks for {count} of {len(parts)} conditions, which is an 'or' of "
            f"{math.comb(len(parts), count):,} parts, at most {_MAX_COMBINATIONS} are tried; give it fewer conditions"
        )
    return _any_of(
        [chosen[0] if count == 1 else {"and": list(chosen)} for chosen in itertools.combinations(parts, count)]
    )


def _condition(condition: Any, prefix: str) -> dict[str, Any]:
    match type(condition).__name__:
        case "Filter":
            return _filter(condition, prefix)
        case "FieldCondition":
            return _field(condition, prefix)
        case "IsEmptyCondition":
            return {_key(condition.is_empty.key, prefix): {"exists": False}}
        case "IsNullCondition":
            raise _no_null(condition.is_null.key)
        case "NestedCondition":
            return _nested(condition.nested, prefix)
        case "HasIdCondition":
            return {ID: {"in": [str(id_) for id_ in condition.has_id]}}
        case name:
            raise InvalidFilter(f"{name} has no counterpart in tercet, whose filters ask for metadata and ids")


def _field(condition: models.FieldCondition, prefix: str) -> dict[str, Any]:
    given = {name: value for name in type(condition).model_fields if (value := getattr(condition, name)) is not None}
    key = _key(given.pop("key"), prefix)
    if len(given) != 1:
        raise InvalidFilter(
            f"the FieldCondition on {key!r} says {' and '.join(sorted(given)) or 'nothing'}; Qdrant's engines differ "
            f"in what that means, so make it a FieldCondition for each"
        )
    [(kind, value)] = given.items()
    match kind:
        case "match":
            return _match(key, value)
        case "range":
            bounds = {name: bound for name in ("gt", "gte", "lt", "lte") if (bound := getattr(value, name)) is not None}
            if not bounds:
                raise InvalidFilter(f"the range on {key!r} has no bounds; give it gt, gte, lt or lte")
            return {key: bounds}
        case "is_empty":
            return {key: {"exists": not value}}
        case "is_null":
            raise _no_null(key)
        case _:
            raise InvalidFilter(f"{kind} on {key!r} has no counterpart in tercet; it has match, range and is_empty")


def _match(key: str, match: Any) -> dict[str, Any]:
    match type(match).__name__:
        case "MatchValue":
            return {key: {"eq": match.value}}
        case "MatchAny":
            return {key: {"in": list(match.any)}}
        case "MatchExcept":
            # To Qdrant, a document without the key has no other value; to tercet's nin it has.
            return {key: {"exists": True, "nin": list(match.except_)}}
        case name:
            raise InvalidFilter(
                f"{name} on {key!r} searches within a text; tercet compares whole values (MatchValue, MatchAny, "
                f"MatchExcept), and finds words by the query"
            )


def _no_null(key: str) -> InvalidFilter:
    return InvalidFilter(
        f"is_null on {key!r} tells a null from a key that is not there, which tercet does not; use is_empty, which "
        f"means null, missing or an empty list"
    )


def _nested(nested: models.Nested, prefix: str) -> dict[str, Any]:
    """A nested filter asks whether one element of a list passes as a whole.

    tercet asks of each condition by itself whether an element passes it. That is the same where one element needs to
    pass no more than one condition: a single one, or any of several.
    """
    leaves = list(_alternatives(nested.filter))
    if not leaves:
        raise InvalidFilter(
            f"the nested filter on {nested.key!r} asks for one element that passes several conditions or fails one; "
            f"tercet can say a single condition, or several under should"
        )
    inside = _key(nested.key, prefix) + "."
    return _any_of([_condition(leaf, inside) for leaf in leaves])


def _alternatives(condition: Any) -> Iterator[Any]:
    """The conditions of which any one is enough; none where it is not so simple."""
    match type(condition).__name__:
        case "Filter":
            # Each group needs one of its own to pass; there may be one group only.
            groups = [[part] for part in _listed(condition.must)]
            if should := _listed(condition.should):
                groups.append(should)
            if condition.min_should is not None:
                groups.append(condition.min_should.conditions)
            if len(groups) != 1 or condition.must_not or (condition.min_should and condition.min_should.min_count != 1):
                return
            parts = [list(_alternatives(part)) for part in groups[0]]
            if all(parts):
                yield from itertools.chain(*parts)
        case "FieldCondition" if not condition.is_empty and type(condition.match).__name__ != "MatchExcept":
            yield condition
        case "NestedCondition":
            yield condition
        case _:
            return


_STEP = re.compile(r'(?:"(?P<quoted>[^"]+)"|(?P<plain>[^."\[\]]+))(?P<elements>(?:\[\])*)(?:\.|$)')


def _key(key: str, prefix: str) -> str:
    """A payload path as a metadata key: without "metadata.", quotes and the "[]" that tercet needs not be told."""
    steps = _steps(key)
    if not prefix:
        if steps[0] == "metadata":
            steps = steps[1:]
        elif steps == ["page_content"]:
            raise InvalidFilter(
                "page_content is the text, which is searched and not filtered; a metadata key of that name is written "
                "'metadata.page_content'"
            )
    if not steps:
        raise InvalidFilter("'metadata' are all of them; name a key, like 'metadata.lang'")
    return prefix + ".".join(steps)


def _steps(key: str) -> Sequence[str]:
    steps = []
    position = 0
    while step := _STEP.match(key, position):
        steps.append(cast("str", step["quoted"] or step["plain"]))
        position = step.end()
        if position == len(key) and not key.endswith("."):
            return steps
    raise InvalidFilter(
        f"the key {key!r} cannot be read; a key is names joined by dots, a list's elements are all meant ('tags' or "
        f"'tags[]'), never one by its number"
    )
