from __future__ import annotations

import uuid
from typing import Any

import pytest
from qdrant_client import models

from tercet.errors import StoreError
from tercet.store.layouts import TERCET
from tercet.store.payload import (
    point_id,
    presence_term,
    range_key,
    split_by_bytes,
    value_term,
)
from tercet.store.points import Point, vectors_of
from tercet.types import SparseVector
from tests.store.samples import record, records


def test_a_payload_shows_the_document_and_what_filters_ask() -> None:
    payload = TERCET.payload_of(record("a", text="t", metadata={"year": 2024, "ok": True, "made": "2024-05-01"}), "f1")

    assert (payload["text"], payload["metadata"]) == ("t", {"year": 2024, "ok": True, "made": "2024-05-01"})
    assert payload["tercet"]["terms"] == [
        '["$id", "a"]', '["made", "2024-05-01"]', '["made"]', '["ok", true]', '["ok"]', '["year", 2024]', '["year"]',
    ]  # fmt: skip
    assert payload["tercet"]["numbers"] == {"year": [2024.0]}
    assert payload["tercet"]["dates"] == {"made": ["2024-05-01T00:00:00.000000+00:00"]}
    assert payload["tercet"]["encoder"] == "f1"


def test_a_payload_gives_its_document_back() -> None:
    original = record("a", text="t", metadata={"list": [1, {"b": None}]})

    assert TERCET.document_of(TERCET.payload_of(original, "f1"), point_id("a")) == original.document


@pytest.mark.parametrize("payload", [None, {}, {"text": "t", "metadata": {}}, {"text": "t", "tercet": "no"}])
def test_a_payload_of_another_program_is_told(payload: dict[str, object] | None) -> None:
    with pytest.raises(StoreError, match="tercet did not write it"):
        TERCET.document_of(payload, "an id")


def test_point_ids_are_uuids_that_every_version_must_make_alike() -> None:
    assert point_id("a") == "cd069314-53ba-55c7-af89-460850ac8590"
    assert point_id("a") != point_id("a ")
    assert uuid.UUID(point_id("any string: ü"))


def test_terms_of_different_questions_differ() -> None:
    terms = [
        value_term("a", "b"),
        value_term("a", "c"),
        presence_term("a"),
        value_term('a", "b', ""),
        value_term("1", 1),
    ]
    terms += [value_term("a", 1), value_term("a", True), value_term("a", "1"), value_term("a", "x" * 500)]

    assert len(set(terms)) == len(terms)
    assert max(map(len, terms)) <= 128
    assert value_term("a", 3.0) == value_term("a", 3)


def test_range_keys_are_plain_and_distinct() -> None:
    paths = ["a.b", "a_b", "a_2e_b", "a b", "é", 'a"b', "a[0]", "A.b"]

    assert len({range_key(path) for path in paths}) == len(paths)
    assert all(range_key(path).replace("_", "").isalnum() and range_key(path).isascii() for path in paths)


def test_a_range_key_has_an_end() -> None:
    keys = {range_key("x" * n) for n in (128, 1_000, 1_001)} | {range_key("é" * 100)}

    assert max(map(len, keys)) <= 128
    assert len(keys) == 4


def test_batches_stay_below_the_limit_and_keep_the_order() -> None:
    points = [Point.of(each, "f1", TERCET) for each in records(20)]
    limit = 3 * points[0].request_bytes + 100

    batches = list(split_by_bytes(points, limit))

    assert [point for batch in batches for point in batch] == points
    assert len(batches) > 5
    assert all(sum(point.request_bytes for point in batch) <= limit for batch in batches)
    assert [len(batch) for batch in split_by_bytes(points, limit, 1)] == [1] * 20


def test_a_record_above_the_limit_goes_alone() -> None:
    points = [Point.of(each, "f1", TERCET) for each in records(3)]

    assert list(split_by_bytes(points, 1)) == [[each] for each in points]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a key of some length, as people write them " * 2: list(range(2_000))},
        {"é" * 100: [n / 3 for n in range(500)]},
        {"made": [f"20240501T0800{n:02}" for n in range(60)] * 20},
        {"a" * 60: {"b" * 60: {"c" * 60: [{"d": n} for n in range(300)]}}},
        {"note": '\u0001"\\\U0001f600' * 500},
    ],
)
def test_a_point_is_never_larger_than_estimated(metadata: dict[str, Any]) -> None:
    point = Point.of(record("a", text='"\n\u0002é' * 300, metadata=metadata), "f1", TERCET)

    vector = vectors_of(point.embedding, TERCET, list_sparse)
    sent = models.PointStruct(id=point.id, vector=vector, payload=point.payload).model_dump_json()

    assert len(sent.encode()) <= point.request_bytes


def list_sparse(vector: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
