"""Filters mean the same everywhere: `filters.matches` decides, and the engines must agree with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from tercet.errors import InvalidFilter
from tercet.filters import And, Or, parse_filter
from tercet.store.base import Store
from tercet.store.conditions import translate
from tercet.store.edge import DIALECT, EdgeStore
from tercet.store.memory import MemoryStore
from tercet.store.qdrant import QdrantStore
from tests.store.samples import SPEC, record

KEYS = ["a", "b", "a.b", "a.b.a", "x y", 'q"t', "d-e", "é", "a[]", "a[0]", "a_b"]
SCALARS: list[Any] = [
    True, False, 0, 1, 3, 3.0, -0.0, 2.5, 2**53, 2**53 + 1, 2.0**53, 2**63 - 1, 1e300, -7,
    "", "en", "EN", "3", "true", "a" * 300, "2024-05-01", "2024-05-01T10:00:00+02:00", "2024-05-01 08:00", "20240501",
    "0001-01-01T00:00+05:00", "9999-12-31", "2024-W18-3", "2024-05-01T08:00:00.123456789", "May 2024",
]  # fmt: skip
NUMBERS = [value for value in SCALARS if isinstance(value, int | float) and not isinstance(value, bool)]
DATES = [value for value in SCALARS if isinstance(value, str) and value[:1].isdigit() and len(value) > 5]

keys = st.sampled_from(KEYS)
scalars = st.sampled_from(SCALARS)
values = st.recursive(
    scalars | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a.b"]), inner, max_size=2),
    max_leaves=6,
)
metadatas = st.dictionaries(keys, values, max_size=4)
bounds = st.sampled_from(["gt", "gte", "lt", "lte"])
operators = st.one_of(
    scalars,
    st.lists(scalars, min_size=1, max_size=3),
    st.fixed_dictionaries({"ne": scalars}, optional={"eq": scalars}),
    st.dictionaries(bounds, st.sampled_from(NUMBERS), min_size=1),
    st.dictionaries(bounds, st.sampled_from(DATES), min_size=1),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"nin": st.lists(scalars, min_size=1, max_size=2)}),
)
wheres = st.recursive(
    st.dictionaries(keys, operators, min_size=1, max_size=2),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"and": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=4,
)


def _is_valid(where: Any) -> bool:
    try:
        parse_filter(where)
    except InvalidFilter:
        return False
    return True


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Store]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(closing(store))
            for name, store in {
                "memory": MemoryStore(SPEC),
                "edge": EdgeStore.open(tmp_path_factory.mktemp("edge") / "index", SPEC),
                "qdrant-local": QdrantStore.open(QdrantClient(":memory:"), "tests", SPEC),
            }.items()
        }


def passing(store: Store, where: Any) -> list[str]:
    return sorted(document.id for document in store.scroll(parse_filter(where)))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(metadatas, min_size=6, max_size=6), st.lists(wheres.filter(_is_valid), min_size=4, max_size=4))
def test_engines_pass_what_python_passes(stores: dict[str, Store], documents: list[Any], filters: list[Any]) -> None:
    for store in stores.values():
        store.upsert([record(str(n), metadata=metadata) for n, metadata in enumerate(documents)])
    for where in filters:
        expected = passing(stores["memory"], where)
        assert passing(stores["edge"], where) == expected
        assert passing(stores["qdrant-local"], where) == expected


@pytest.mark.parametrize(
    ("metadata", "where", "expected"),
    [
        ({"n": 3}, {"n": 3.0}, True),
        ({"n": 3.0}, {"n": 3}, True),
        ({"n": 2.5}, {"n": [1, 2.5]}, True),
        ({"n": 2**53 + 1}, {"n": 2**53}, False),
        ({"n": 2**53 + 1}, {"n": {"gt": 2**53}}, False),
        ({"n": 1}, {"n": True}, False),
        ({"n": True}, {"n": True}, True),
        ({"n": False}, {"n": True}, False),
        ({"n": [False, True]}, {"n": True}, True),
        ({"n": True}, {"n": {"gte": 0}}, False),
        ({"n": "3"}, {"n": 3}, False),
        ({"n": [1, 9]}, {"n": {"gt": 2, "lt": 8}}, False),
        ({"n": None}, {"n": {"exists": True}}, False),
        ({"n": []}, {"n": {"exists": True}}, False),
        ({"n": [None]}, {"n": {"exists": True}}, False),
        ({"n": {}}, {"n": {"exists": True}}, True),
        ({"n": ""}, {"n": {"exists": True}}, True),
        ({}, {"n": {"ne": 3}}, True),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a.b": 2}, True),
        ({"a": [[2]]}, {"a": 2}, False),
        ({"a": {"b": True}}, {"a.b": True}, True),
        ({"a.b": 1}, {"a.b": 1}, True),
        ({"a_2e_b": 1}, {"a.b": {"gte": 1}}, False),
        ({'a "b" c': 1}, {'a "b" c': {"gte": 1}}, True),
        ({"d": "2024-05-01T10:00:00+02:00"}, {"d": {"lte": "2024-05-01T08:00"}}, True),
        ({"d": "2024-05-01"}, {"d": {"gt": "2024-04-30", "lt": "2024-05-02"}}, True),
        ({"d": "20240501"}, {"d": {"gte": "2024-05-01"}}, True),
        ({"d": "May 2024"}, {"d": {"gte": "2024-01-01"}}, False),
        ({"t": "x" * 1000}, {"t": "x" * 1000}, True),
        ({"t": "x" * 1000}, {"t": "x" * 999}, False),
    ],
)
def test_a_trap_is_read_alike_everywhere(stores: dict[str, Store], metadata: Any, where: Any, expected: bool) -> None:
    for name, store in stores.items():
        store.delete([document.id for document in store.scroll()])
        store.upsert([record("it", metadata=metadata)])
        assert (name, passing(store, where)) == (name, ["it"] if expected else [])


def test_a_joint_of_nothing_is_refused() -> None:
    for joint in (And(()), Or(())):
        with pytest.raises(InvalidFilter, match="at least one"):
            translate(joint, DIALECT)


def test_a_lone_surrogate_in_a_filter_is_refused() -> None:
    for where in ({"a": "\ud800"}, {"\ud800": 1}, {"a": ["\udfff"]}):
        with pytest.raises(InvalidFilter, match="surrogate"):
            parse_filter(where)
