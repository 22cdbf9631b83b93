import datetime
from typing import Any

import pytest

from tercet.errors import InvalidFilter
from tercet.filters import AnyOf, matches, parse_filter

ADA = {
    "lang": "en",
    "year": 2024,
    "score": 3.0,
    "draft": False,
    "tags": ["math", "engine"],
    "author": {"name": "Ada", "born": "1815-12-10"},
    "reviews": [{"by": "Charles"}, {"by": "Mary"}],
    "updated": "2024-05-01T12:00:00+02:00",
    "empty": [],
    "nothing": None,
}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"lang": "en"}, True),
        ({"lang": "de"}, False),
        ({"lang": ["de", "en"]}, True),
        ({"lang": {"in": ["de"]}}, False),
        ({"lang": {"ne": "de"}}, True),
        ({"missing": {"ne": "de"}}, True),
        ({"tags": {"nin": ["engine"]}}, False),
        ({"tags": "math"}, True),
        ({"year": 2024.0}, True),
        ({"score": 3}, True),
        ({"draft": False}, True),
        ({"draft": 0}, False),
        ({"year": True}, False),
        ({"year": {"gte": 2024, "lt": 2025}}, True),
        ({"year": {"gt": 2024}}, False),
        ({"lang": {"gt": 3}}, False),
        ({"author.name": "Ada"}, True),
        ({"author.born": {"lt": "1900-01-01"}}, True),
        ({"updated": {"gte": datetime.datetime(2024, 5, 1, 10, tzinfo=datetime.UTC)}}, True),
        ({"updated": {"gt": "2024-05-01T10:00:00"}}, False),
        ({"reviews.by": "Mary"}, True),
        ({"lang": {"exists": True}}, True),
        ({"empty": {"exists": True}}, False),
        ({"nothing": {"exists": False}}, True),
        ({"lang": "en", "year": 1999}, False),
        ({"or": [{"lang": "de"}, {"year": 2024}]}, True),
        ({"and": [{"lang": "en"}, {"year": 2024}]}, True),
        ({"not": {"lang": "en"}}, False),
        ({"not": {"or": [{"lang": "de"}, {"missing": 1}]}}, True),
    ],
)
def test_a_filter_means_what_it_says(where: dict[str, Any], expected: bool) -> None:
    assert matches(parse_filter(where), ADA) is expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({}, "empty"),
        ("lang=en", "a filter is a dict"),
        ({"year": {"gtee": 3}}, "unknown operator 'gtee' on 'year'; .*'year.gtee'"),
        ({"year": {}}, "empty dict"),
        ({"lang": []}, "at least one value"),
        ({"lang": None}, "exists"),
        ({"year": {"gte": "soon"}}, "finite number or a date"),
        ({"year": {"gte": 1, "lt": "2024-01-01"}}, "mixes numbers and dates"),
        ({"year": {"gte": float("nan")}}, "finite number"),
        ({"lang": {"exists": "yes"}}, "True or False"),
        ({"and": {"lang": "en"}}, "takes a list"),
        ({"or": []}, "takes a list"),
        ({"not": [{"lang": "en"}]}, "each a dict"),
        ({"a..b": 1}, "metadata key"),
        ({3: 1}, "metadata key"),
        ({"lang": {"in": "en"}}, "a list of at least one"),
        ({"lang": object()}, "use a str"),
    ],
)
def test_a_filter_that_cannot_be_read_says_why(where: Any, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message):
        parse_filter(where)


def test_a_date_is_compared_as_iso_text() -> None:
    assert parse_filter({"day": datetime.date(2024, 5, 1)}) == AnyOf("day", ("2024-05-01",))
