import datetime
from pathlib import Path
from typing import Any

import pytest

from tercet import Document, HybridIndex
from tercet.errors import InvalidFilter
from tercet.filters import AnyOf, matches, parse_filter
from tests.toys import ToyEncoder

TEN_UTC = datetime.datetime(2024, 5, 1, 10, tzinfo=datetime.UTC)
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
        ({"updated": TEN_UTC}, True),
        ({"updated": {"eq": TEN_UTC.astimezone(datetime.timezone(datetime.timedelta(hours=9)))}}, True),
        ({"updated": {"ne": TEN_UTC}}, False),
        ({"updated": {"in": ["soon", TEN_UTC]}}, True),
        ({"updated": {"nin": ["soon", TEN_UTC]}}, False),
        ({"updated": [TEN_UTC + datetime.timedelta(seconds=1)]}, False),
        ({"updated": "2024-05-01T10:00:00Z"}, False),
        ({"author.born": datetime.date(1815, 12, 10)}, True),
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
        ({"$id": {"exists": True}}, "an id is compared by eq, ne, in and nin, got 'exists'"),
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
        ({"a..b": 1}, "'a..b'; metadata under an empty key, .* store them under another key"),
        ({"": 1}, "metadata under an empty key"),
        ({".a": 1}, "metadata under an empty key"),
        ({"and": "x"}, "metadata under a key of that name cannot be filtered"),
        ({"not": "x"}, "metadata under a key of that name cannot be filtered"),
        ({3: 1}, "a str, got int"),
        ({"n": 10**5000}, "a number beyond all floats"),
        ({"n": {"gte": 10**5000}}, "a number beyond all floats"),
        ({"n": {"in": [float("nan")]}}, "a finite number"),
        ({"day": datetime.datetime.min.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1)))}, "equality on"),
        ({"lang": {"in": "en"}}, "a list of at least one"),
        ({"lang": object()}, "use a str"),
    ],
)
def test_a_filter_that_cannot_be_read_says_why(where: Any, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message):
        parse_filter(where)


def test_a_nested_key_may_have_the_name_of_a_joint() -> None:
    assert parse_filter({"logic.and": 1}) == AnyOf("logic.and", (1,))


def test_an_engine_finds_a_datetime_however_it_is_written(toy_encoder: ToyEncoder, tmp_path: Path) -> None:
    written = {"z": "2024-05-01T10:00:00Z", "plus": "2024-05-01T12:00:00+02:00", "later": "2024-05-01T10:00:01Z"}
    with HybridIndex.open(tmp_path / "kb", encoder=toy_encoder) as index:
        index.add(Document("words", id, {"made": made}) for id, made in written.items())

        assert {document.id for document in index.scroll({"made": TEN_UTC})} == {"z", "plus"}
        assert {document.id for document in index.scroll({"made": {"ne": TEN_UTC}})} == {"later"}
