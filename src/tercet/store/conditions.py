"""A neutral filter in, an engine's filter out: one walk over the tree for both Qdrant engines.

The walk asks the flat fields of `tercet.store.payload`. What differs between the engines, how a condition is spelt, is
a `Dialect` of four functions that each engine's module defines beside its store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tercet.errors import InvalidFilter
from tercet.filters import And, AnyOf, Between, Exists, Filter, Not, Or
from tercet.store.payload import DATES, NUMBERS, TERMS, presence_term, range_key, value_term

EngineFilter = TypeVar("EngineFilter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect(Generic[EngineFilter]):
    """How one engine spells conditions.

    join: a filter from lists of conditions, named must, should or must_not
    any_of: the keyword field `key` holds one of these
    numbers_within, dates_within: one element of the field `key` lies within {"gt": …, "gte": …, "lt": …, "lte": …}
    """

    join: Callable[..., EngineFilter]
    any_of: Callable[[str, list[str]], Any]
    numbers_within: Callable[[str, Mapping[str, float]], Any]
    dates_within: Callable[[str, Mapping[str, str]], Any]


def translate(condition: Filter, dialect: Dialect[EngineFilter]) -> EngineFilter:
    """The engine's filter that passes exactly the documents that `filters.matches` passes."""
    match condition:
        case And(filters):
            return dialect.join(must=_parts(filters, dialect))
        case Or(filters):
            return dialect.join(should=_parts(filters, dialect))
        case Not(inner):
            return dialect.join(must_not=[translate(inner, dialect)])
        case Exists(key):
            return dialect.join(must=[dialect.any_of(TERMS, [presence_term(key)])])
        case AnyOf(key, values):
            return dialect.join(must=[dialect.any_of(TERMS, sorted({value_term(key, value) for value in values}))])
        case Between(key):
            bounds = {name: getattr(condition, name) for name in ("gt", "gte", "lt", "lte")}
            given = {name: bound for name, bound in bounds.items() if bound is not None}
            if condition.of_dates:
                dates = {name: date.isoformat(timespec="microseconds") for name, date in given.items()}
                return dialect.join(must=[dialect.dates_within(f"{DATES}.{range_key(key)}", dates)])
            return dialect.join(must=[dialect.numbers_within(f"{NUMBERS}.{range_key(key)}", given)])


def _parts(filters: Sequence[Filter], dialect: Dialect[EngineFilter]) -> list[EngineFilter]:
    if not filters:
        # all([]) is true and any([]) is false, but engines read both as "no condition".
        raise InvalidFilter("And and Or need at least one filter")
    return [translate(part, dialect) for part in filters]
