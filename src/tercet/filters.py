"""The neutral filter: a plain dict in, a small tree out, which every store translates and `matches` decides in Python.

{"lang": "en"}                                  equal; where the metadata holds a list, any element may match
{"lang": ["en", "de"]}                          one of these, the same as {"lang": {"in": ["en", "de"]}}
{"made": datetime.date(2024, 5, 1)}             the same instant, however it is written; a day is its midnight in UTC
{"year": {"gte": 2024, "lt": 2026}}             gt, gte, lt, lte: numbers, or dates as ISO 8601 text or datetime
{"lang": {"ne": "en"}}, {"lang": {"nin": [..]}} not equal; a document without the key matches
{"reviewer": {"exists": True}}                  the key is there and neither null nor an empty list
{"author.name": "Ada"}                          a nested key; a key that itself holds a dot is reached the same way
{"$id": ["a", "b"]}                             the document's own id, not its metadata
{"and": [f, g]}, {"or": [f, g]}, {"not": f}     several keys in one dict are joined by and

Text equals text letter by letter, "2024-05-01T10:00Z" is not "2024-05-01T10:00+00:00"; a datetime equals both.
Metadata may hold any key. Those that no filter can name: "and", "or", "not" and "$id" outermost, an empty one, and one
that begins or ends with a dot or holds two in a row.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tercet.errors import InvalidFilter
from tercet.types import Metadata

Scalar: TypeAlias = bool | int | float | str
Bound: TypeAlias = float | datetime.datetime


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The value at `key`, or one element of the list there, equals one of `values`."""

    key: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """The value at `key`, or one element of the list there, lies within all bounds that are given."""

    key: str
    gt: Bound | None = None
    gte: Bound | None = None
    lt: Bound | None = None
    lte: Bound | None = None

    @property
    def of_dates(self) -> bool:
        return any(isinstance(bound, datetime.datetime) for bound in (self.gt, self.gte, self.lt, self.lte))


@dataclass(frozen=True, slots=True)
class Exists:
    """`key` holds something: it is there, not null, not an empty list."""

    key: str


@dataclass(frozen=True, slots=True)
class And:
    """All of these."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of these at least."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not this."""

    filter: Filter


Filter: TypeAlias = AnyOf | Between | Exists | And | Or | Not

ID = "$id"
"""The key under which a filter asks for a document's own id."""

_RANGE = ("gt", "gte", "lt", "lte")
_OPERATORS = ("eq", "ne", "in", "nin", *_RANGE, "exists")
_JOINTS = ("and", "or", "not")
_RESERVED = "metadata under a key of that name cannot be filtered, store them under another one"


def parse_filter(where: Mapping[str, Any]) -> Filter:
    """Read a filter from a plain dict.

    Raises:
        InvalidFilter: an unknown operator, an empty filter or list, a value of a kind that cannot be compared.
    """
    if not isinstance(where, Mapping):
        raise InvalidFilter(f"a filter is a dict like {{'lang': 'en'}}, got {type(where).__name__}")
    if not where:
        raise InvalidFilter("the filter is empty, which could mean everything or nothing; leave where out instead")
    parts = tuple(part for key, value in where.items() for part in _parse_entry(key, value))
    return parts[0] if len(parts) == 1 else And(parts)


def _parse_entry(key: object, value: object) -> Iterator[Filter]:
    if not isinstance(key, str):
        raise InvalidFilter(f"a filter key is a metadata key, which is a str, got {type(key).__name__}")
    if not all(key.split(".")):
        raise InvalidFilter(
            f"a filter key is a metadata key, nested ones joined by single dots, got {key!r}; metadata under an empty "
            f"key, or one with a dot at an end or two in a row, cannot be filtered: store them under another key"
        )
    _check_unicode(key, key)
    if key == "not":
        yield Not(parse_filter(_mapping(key, value)))
    elif key in _JOINTS:
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise InvalidFilter(f"{key!r} takes a list of at least one filter, got {value!r}; {_RESERVED}")
        parts = tuple(parse_filter(_mapping(key, part)) for part in value)
        yield And(parts) if key == "and" else Or(parts)
    elif isinstance(value, Mapping):
        yield from _parse_operators(key, value)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield _one_of(key, value)
    else:
        yield _one_of(key, (value,))


def _parse_operators(key: str, operators: Mapping[Any, Any]) -> Iterator[Filter]:
    if not operators:
        raise InvalidFilter(f"the filter on {key!r} is an empty dict; give it one of {', '.join(_OPERATORS)}")
    for name in operators:
        if name not in _OPERATORS:
            raise InvalidFilter(
                f"unknown operator {name!r} on {key!r}; the operators are {', '.join(_OPERATORS)}, "
                f"and a nested key is written '{key}.{name}'"
            )
    if key == ID and (others := set(operators) - {"eq", "ne", "in", "nin"}):
        raise InvalidFilter(f"an id is compared by eq, ne, in and nin, got {', '.join(sorted(map(repr, others)))}")
    bounds = {name: _bound(key, name, operators[name]) for name in _RANGE if name in operators}
    if bounds:
        if len({isinstance(bound, datetime.datetime) for bound in bounds.values()}) > 1:
            raise InvalidFilter(f"the range on {key!r} mixes numbers and dates: {dict(operators)!r}")
        yield Between(key, **bounds)
    for name, value in operators.items():
        match name:
            case "eq":
                yield _one_of(key, (value,))
            case "ne":
                yield Not(_one_of(key, (value,)))
            case "in":
                yield _one_of(key, value)
            case "nin":
                yield Not(_one_of(key, value))
            case "exists":
                if not isinstance(value, bool):
                    raise InvalidFilter(f"exists on {key!r} takes True or False, got {value!r}")
                yield Exists(key) if value else Not(Exists(key))


def _mapping(key: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidFilter(f"{key!r} takes filters, each a dict, got {value!r}; {_RESERVED}")
    return value


def _one_of(key: str, values: object) -> Filter:
    """The value at `key` equals one of these: a datetime by instant, all else as it is."""
    if not isinstance(values, Sequence | set | frozenset) or isinstance(values, str) or not values:
        raise InvalidFilter(f"{key!r} needs a list of at least one value, got {values!r}")
    dates = [_bound(key, "equality", value) for value in values if isinstance(value, datetime.date)]
    scalars = tuple(_scalar(key, value) for value in values if not isinstance(value, datetime.date))
    parts: list[Filter] = [AnyOf(key, scalars)] if scalars else []
    parts += [Between(key, gte=date, lte=date) for date in dates]
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _scalar(key: str, value: object) -> Scalar:
    if value is None:
        raise InvalidFilter(
            f"nothing equals None; to ask whether {key!r} is there write {{'{key}': {{'exists': ...}}}}"
        )
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_unicode(key, value)
        return value
    if isinstance(value, int | float) and abs(value) <= sys.float_info.max:  # NaN fails this, too
        return value
    raise InvalidFilter(f"{key!r} is compared with {_shown(value)}; use a str, a bool or a finite number")


def _check_unicode(key: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidFilter(f"the filter on {key!r} holds a lone surrogate, which no document can hold") from None


def _bound(key: str, operator: str, value: object) -> Bound:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)
    if isinstance(value, datetime.date) or (isinstance(value, str) and parse_date(value)):
        date = parse_date(value.isoformat() if isinstance(value, datetime.date) else value)
        if date is not None:
            return date
    raise InvalidFilter(
        f"{operator} on {key!r} takes a finite number or a date (ISO 8601 or datetime), got {_shown(value)}"
    )


def _shown(value: object) -> str:
    # Python refuses to write a whole number of more than a few thousand digits.
    return "a number beyond all floats" if isinstance(value, int) and abs(value) > sys.float_info.max else repr(value)


def parse_date(text: str) -> datetime.datetime | None:
    """An ISO 8601 date or time in UTC, which is assumed where the text names no zone; None for any other text."""
    try:
        date = datetime.datetime.fromisoformat(text)
        return date.astimezone(datetime.UTC) if date.tzinfo else date.replace(tzinfo=datetime.UTC)
    except (ValueError, OverflowError):  # an offset can push the first and the last day out of the calendar
        return None


def filterable(id: str, metadata: Metadata) -> Metadata:
    """What filters ask of a document: its metadata, and its id under `ID`."""
    return {**metadata, ID: id}


def with_ids(condition: Filter, stored_ids: Callable[[str], Iterable[str]]) -> Filter:
    """The filter with each id that it names replaced by those under which that document may be stored."""
    match condition:
        case AnyOf(key, values) if key == ID:
            return AnyOf(ID, tuple(stored for value in values for stored in stored_ids(str(value))))
        case And(filters):
            return And(tuple(with_ids(part, stored_ids) for part in filters))
        case Or(filters):
            return Or(tuple(with_ids(part, stored_ids) for part in filters))
        case Not(inner):
            return Not(with_ids(inner, stored_ids))
        case _:
            return condition


def matches(condition: Filter, metadata: Metadata) -> bool:
    """Whether a document with this `filterable` metadata passes: the meaning that every store must agree with."""
    match condition:
        case And(filters):
            return all(matches(part, metadata) for part in filters)
        case Or(filters):
            return any(matches(part, metadata) for part in filters)
        case Not(inner):
            return not matches(inner, metadata)
        case Exists(key):
            return any(value is not None for value in values_at(metadata, key))
        case AnyOf(key, wanted):
            return any(_equal(value, choice) for value in values_at(metadata, key) for choice in wanted)
        case Between(key):
            return any(_within(condition, value) for value in values_at(metadata, key))


def values_at(metadata: Metadata, key: str) -> list[Any]:
    """What stands at a dotted key; a list gives its elements, also half-way down the path."""
    return [value for path, value in entries(metadata) if path == key]


def entries(metadata: Metadata) -> Iterator[tuple[str, Any]]:
    """Every (dotted key, value) that a filter can ask for: the scalars, the nulls and the dicts on the way to them.

    A list gives its elements. A list within a list stays whole: it is there, but equals nothing.
    """
    for key, value in metadata.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            yield key, item
            if isinstance(item, Mapping):
                yield from ((f"{key}.{path}", inner) for path, inner in entries(item))


def _equal(value: object, wanted: Scalar) -> bool:
    # In Python True == 1; in metadata a flag is no number.
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _within(condition: Between, value: object) -> bool:
    number: Any = None
    if condition.of_dates:
        number = parse_date(value) if isinstance(value, str) else None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)  # as every engine compares, also beyond 2**53
    if number is None:
        return False
    return (
        (condition.gt is None or number > condition.gt)
        and (condition.gte is None or number >= condition.gte)
        and (condition.lt is None or number < condition.lt)
        and (condition.lte is None or number <= condition.lte)
    )
