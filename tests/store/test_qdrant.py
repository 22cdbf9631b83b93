"""QdrantStore against the REST double: what is sent, what is refused, what is tried again."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from tercet.errors import CollectionMismatch, StoreError, StoreUnavailable
from tercet.filters import parse_filter
from tercet.store import qdrant
from tercet.store.qdrant import QdrantStore
from tests.store.rest_double import RestDouble
from tests.store.samples import SPEC, embedding, keys, query, record, records

OTHER = replace(SPEC, name="other", fingerprint="tiny-2")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant, "_PAUSES_SECONDS", (0, 0, 0))


@pytest.fixture
def store(double: RestDouble) -> Iterator[QdrantStore]:
    with closing(QdrantStore.open(double.url, "kb", SPEC)) as store:
        yield store


def test_a_collection_opens_again_with_what_it_held(double: RestDouble, store: QdrantStore) -> None:
    store.upsert(records(10))

    with closing(QdrantStore.open(double.url, "kb", SPEC, create=False)) as again:
        assert again.count() == 10


def test_the_collection_is_made_for_late_interaction(double: RestDouble, store: QdrantStore) -> None:
    client = QdrantClient(double.url, check_compatibility=False)
    params = client.get_collection("kb").config.params
    client.close()

    assert isinstance(params.vectors, dict)
    late = params.vectors["late"]
    assert late.hnsw_config is not None
    assert late.hnsw_config.m == 0
    assert late.on_disk
    assert late.datatype == models.Datatype.FLOAT16
    assert late.multivector_config is not None
    assert params.vectors["dense"].distance == models.Distance.COSINE
    assert double.indexes == {"tercet.terms": "keyword"}


def test_number_and_date_fields_are_indexed_once(double: RestDouble, store: QdrantStore) -> None:
    for _ in range(2):
        store.upsert([record("a", metadata={"year": 2024, "made": "2024-05-01"})])

    assert double.indexes == {
        "tercet.terms": "keyword",
        "tercet.numbers.year": "float",
        "tercet.dates.made": "datetime",
    }
    assert sum(path.endswith("/index") for path, _ in double.sizes) == 3
    with closing(QdrantStore.open(double.url, "kb", SPEC)) as again:
        again.upsert([record("b", metadata={"year": 2025})])
    assert sum(path.endswith("/index") for path, _ in double.sizes) == 3


@pytest.mark.parametrize("version", ["1.17.0", "1.15.5"])
def test_another_models_collection_is_refused_and_both_are_named(version: str) -> None:
    with RestDouble(version) as double:
        with closing(QdrantStore.open(double.url, "kb", SPEC)) as store:
            store.upsert(records(1))

        with pytest.raises(CollectionMismatch, match=r"tiny-1.*'other'.*tiny-2"):
            QdrantStore.open(double.url, "kb", OTHER)
        QdrantStore.open(double.url, "kb", SPEC).close()


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"format": 2, "encoder": {}}, "format 2, this version"),
        ({"format": 1, "encoder": {**asdict(SPEC), "levels": 3}}, "cannot read.*levels"),
        ({"format": 1, "encoder": ["tiny"]}, "does not tell its encoder"),
    ],
)
def test_a_collection_of_a_later_version_is_refused(double: RestDouble, description: Any, message: str) -> None:
    with closing(QdrantStore.open(double.url, "kb", SPEC)) as store:
        config = store._client.get_collection("kb").config.params
    client = QdrantClient(double.url, check_compatibility=False)
    client.create_collection("later", config.vectors, config.sparse_vectors, metadata={"tercet": description})
    client.close()

    with pytest.raises(CollectionMismatch, match=message):
        QdrantStore.open(double.url, "later", SPEC)


def test_a_client_is_closed_when_opening_fails_however(double: RestDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    close = QdrantClient.close
    monkeypatch.setattr(QdrantClient, "close", lambda client: (closed.append(True), close(client)))
    monkeypatch.setattr(QdrantClient, "collection_exists", _interrupted)

    with pytest.raises(KeyboardInterrupt) as failure:  # which keeps the client, that closes itself when it is forgotten
        QdrantStore.open(double.url, "kb", SPEC)
    assert closed
    assert failure.traceback


def test_an_index_of_terms_that_is_missing_is_made(double: RestDouble, store: QdrantStore) -> None:
    double.indexes.clear()  # as if the maker had been killed in between

    QdrantStore.open(double.url, "kb", SPEC).close()

    assert double.indexes == {"tercet.terms": "keyword"}


def test_a_collection_of_other_vectors_is_refused(double: RestDouble, store: QdrantStore) -> None:
    client = QdrantClient(double.url, check_compatibility=False)
    client.create_collection("theirs", models.VectorParams(size=4, distance=models.Distance.DOT))
    client.close()

    with pytest.raises(CollectionMismatch, match="not a tercet index"):
        QdrantStore.open(double.url, "theirs", SPEC)
    with pytest.raises(CollectionMismatch, match="size 16, but 'tiny' makes size 32"):
        QdrantStore.open(double.url, "kb", replace(SPEC, dense_dim=32))


def test_no_collection_and_none_to_make_is_an_error(double: RestDouble) -> None:
    with pytest.raises(StoreError, match="there is no collection 'kb'"):
        QdrantStore.open(double.url, "kb", SPEC, create=False)
    assert not any(path.startswith("PUT") for path, _ in double.sizes)


def test_a_server_that_is_too_old_is_told() -> None:
    with RestDouble("1.9.2") as double, pytest.raises(StoreError, match=r"Qdrant 1\.9\.2, tercet needs 1\.12"):
        QdrantStore.open(double.url, "kb", SPEC)


def test_the_version_is_asked_once(double: RestDouble, store: QdrantStore) -> None:
    store.upsert(records(3))
    store.prefetch([query(0)], ["dense", "sparse"], limit=2)

    assert store.describe()["engine"] == "qdrant 1.17.0"
    assert sum(path == "GET /" for path, _ in double.sizes) == 1


def test_both_prefetches_of_all_queries_are_one_request(double: RestDouble, store: QdrantStore) -> None:
    store.upsert(records(30))
    double.sizes.clear()

    store.prefetch([query(0), query(1)], ["dense", "sparse"], limit=5, where=parse_filter({"lang": "en"}))

    assert [path for path, _ in double.sizes] == ["POST /collections/kb/points/query/batch"]


def test_many_queries_are_split_by_number_and_bytes(double: RestDouble, store: QdrantStore) -> None:
    store.upsert(records(10))
    long = [(embedding(seed, n_tokens=200).multi_vector, keys(["001", "002"])) for seed in range(40)]
    double.sizes.clear()

    store.prefetch([query(seed) for seed in range(40)], ["dense", "sparse"], limit=1)
    assert len(double.sizes) == 3  # of 80 searches, 32 at a time

    double.sizes.clear()
    store.max_request_bytes = 200_000
    assert len(store.rerank(long)) == 40
    assert len(double.sizes) > 2
    assert max(size for _, size in double.sizes) <= 200_000


def test_upserts_are_split_by_bytes(double: RestDouble, store: QdrantStore) -> None:
    store.max_request_bytes = 60_000
    wordy = [record(f"w{n}", text='"\u00e9\n' * 500, metadata={"note": "\u0001" * 300}) for n in range(20)]

    store.upsert([*records(100), *wordy])

    sizes = [size for path, size in double.sizes if path == "PUT /collections/kb/points"]
    assert len(sizes) >= 4
    assert max(sizes) <= 60_000
    assert store.count() == 120


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_passing_failure_is_tried_again(double: RestDouble, store: QdrantStore, status: int) -> None:
    double.failures = [status, status, status]
    store.upsert(records(2))

    double.failures = [status]
    assert store.count() == 2


def test_a_failure_that_lasts_is_told(double: RestDouble, store: QdrantStore) -> None:
    double.failures = [503] * 4
    with pytest.raises(StoreUnavailable, match="does not answer"):
        store.count()
    assert store.count() == 0


def test_a_refusal_is_not_tried_again(double: RestDouble, store: QdrantStore) -> None:
    double.failures = [403]
    with pytest.raises(StoreError, match="403"):
        store.count()
    assert store.count() == 0


@pytest.mark.parametrize(
    "body",
    [b"Must provide an API key or an Authorization bearer token", b'{"status": {"error": "Unauthorized\\nby all"}}'],
)
def test_a_denial_is_one_line_and_names_the_key(double: RestDouble, store: QdrantStore, body: bytes) -> None:
    double.failures, double.failure_body = [401], body

    with pytest.raises(
        StoreError, match=r"401 \w+: (Must provide|Unauthorized by all).*; check the API key"
    ) as failure:
        store.count()
    assert "\n" not in str(failure.value)
    assert "status" not in str(failure.value)


@pytest.mark.parametrize(("asked", "waited"), [("2", 2), ("86400", 30), ("Wed, 21 Oct 2026 07:28:00 GMT", 0)])
def test_a_server_may_ask_for_a_pause_but_not_for_a_day(
    double: RestDouble, store: QdrantStore, monkeypatch: pytest.MonkeyPatch, asked: str, waited: float
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    double.failures, double.failure_headers = [429], {"Retry-After": asked}

    assert store.count() == 0
    assert pauses == [waited]


@pytest.mark.parametrize("prefer_grpc", [False, True])
def test_a_server_that_is_not_there_is_told(prefer_grpc: bool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(StoreUnavailable, match=url):
            QdrantStore.open(url, "kb", SPEC, prefer_grpc=prefer_grpc)


def test_the_api_key_is_sent_and_never_shown(double: RestDouble, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.warns(UserWarning, match="insecure connection"):
        store = QdrantStore.open(double.url.replace("//", "//user:pass@"), "kb", SPEC, api_key="k3y-0f-mine")
    with closing(store):
        double.failures = [503] * 4
        with pytest.raises(StoreUnavailable) as failure:
            store.count()
        shown = [repr(store), str(store.describe()), str(failure.value), caplog.text]

    assert double.api_keys == {"k3y-0f-mine"}
    for text in shown:
        assert "k3y-0f-mine" not in text
        assert "pass" not in text


@pytest.mark.parametrize("url", ["user:pa55@host:6333", "http://user:pa/55@host:6333", "http://us:pa#55@host:6333"])
def test_a_bad_url_shows_no_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"host:6333.* is no address") as failure:
        QdrantStore.open(url, "kb", SPEC)

    assert not re.search("pa|55", "".join(traceback.format_exception(failure.value)).partition("ValueError")[2])


def test_a_client_that_was_given_stays_open() -> None:
    client = QdrantClient(":memory:")
    QdrantStore.open(client, "kb", SPEC).close()

    assert client.collection_exists("kb")
    client.close()


def test_a_collection_that_is_gone_is_told(double: RestDouble, store: QdrantStore) -> None:
    client = QdrantClient(double.url, check_compatibility=False)
    client.delete_collection("kb")
    client.close()

    with pytest.raises(StoreError, match="refused a request on 'kb'"):
        store.upsert(records(1))


def test_points_of_another_program_are_told(tmp_path: Path) -> None:
    client = QdrantClient(":memory:")
    store = QdrantStore.open(client, "kb", SPEC)
    client.upsert("kb", [models.PointStruct(id=1, vector={}, payload={"text": "theirs"})])

    with pytest.raises(StoreError, match="tercet did not write it"):
        list(store.scroll())
    client.close()


def _interrupted(client: QdrantClient, collection: str) -> bool:
    raise KeyboardInterrupt


async def test_an_event_loop_asks_through_the_asynchronous_client_and_waits_between_attempts(
    double: RestDouble, store: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.upsert(records(30))
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("the event loop was blocked"))
    monkeypatch.setattr(store._client, "query_batch_points", lambda *_, **__: pytest.fail("the blocking client"))
    double.failures = [503]

    found = await store.reader().prefetch([query(0)], ["dense"], limit=5)

    assert len(found[0]["dense"]) == 5
    await store.aclose()


async def test_requests_of_an_event_loop_are_under_way_together(double: RestDouble, store: QdrantStore) -> None:
    store.upsert(records(30))
    expected = store.prefetch([query(0)], ["dense"], limit=5)
    double.delay_seconds = 0.3
    started = time.perf_counter()

    answers = await asyncio.gather(*(store.reader().prefetch([query(0)], ["dense"], limit=5) for _ in range(8)))

    # One after the other would take 2.4 seconds.
    assert time.perf_counter() - started < 1.8
    assert answers == [expected] * 8
    await store.aclose()


def test_each_event_loop_has_its_own_connections(double: RestDouble) -> None:
    client = QdrantClient(double.url, check_compatibility=False)
    store = QdrantStore.open(client, "kb", SPEC)
    store.upsert(records(3))

    async def ask() -> list[str]:
        found = [await store.reader().document_ids([store.key(id)]) for id in ("001", "002")]
        await store.aclose()
        return [id for each in found for id in each.values()]

    assert [asyncio.run(ask()) for _ in range(3)] == [["001", "002"]] * 3
    assert store.count() == 3  # the client was given, and is not ours to close
    client.close()
