"""How token vectors are kept: merged, rounded, told again when the place is opened, and never mixed."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from tercet.errors import CollectionMismatch, StoreError
from tercet.merging import merge_tokens
from tercet.scoring import maxsim
from tercet.storage import StorageOptions
from tercet.store.base import Store
from tercet.store.edge import EdgeStore
from tercet.store.memory import MemoryStore
from tercet.store.qdrant import QdrantStore
from tercet.types import LATE, Record
from tests.store.rest_double import RestDouble
from tests.store.samples import SPEC, embedding, record, records

MERGED = StorageOptions(merge_tokens=2)
QUERY = embedding(99).multi_vector


@pytest.fixture(params=["memory", "edge", "qdrant"])
def merged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    match request.param:
        case "memory":
            store: Store = MemoryStore(SPEC, storage=MERGED)
        case "edge":
            store = EdgeStore.open(tmp_path / "index", SPEC, storage=MERGED)
        case "qdrant":
            store = QdrantStore.open(QdrantClient(":memory:"), "tests", SPEC, storage=MERGED)
    with closing(store):
        yield store


def late_scores(store: Store, written: list[Record]) -> list[float]:
    keys = [store.key(each.document.id) for each in written]
    [ranking] = store.rerank([(QUERY, keys)])
    scores = dict(ranking)
    return [scores[key] for key in keys]


def test_merged_rows_are_stored_ranked_and_replaced(merged: Store) -> None:
    written = records(5)
    merged.upsert(written)
    expected = [merge_tokens(each.embedding.multi_vector, 2) for each in written]

    assert late_scores(merged, written) == pytest.approx(maxsim(QUERY, expected), abs=2e-3)
    changed = replace(written[0], embedding=embedding(7, n_tokens=9))
    merged.upsert([changed])
    stored = merged.read([merged.key(changed.document.id)], vectors=[LATE])[merged.key(changed.document.id)].late
    assert stored is not None
    assert stored == pytest.approx(merge_tokens(changed.embedding.multi_vector, 2).vectors, abs=1e-3)
    assert "every 2 tokens" in str(merged.describe()["token vectors"])


@pytest.mark.parametrize(("bits", "off"), [(16, 2e-3), (8, 0.02), (4, 0.25)])
@pytest.mark.parametrize("merge", [1, 2])
def test_few_bits_score_nearly_as_all(tmp_path: Path, bits: int, off: float, merge: int) -> None:
    storage = StorageOptions(merge_tokens=merge, late_bits=bits)  # type: ignore[arg-type]
    written = records(30)
    exact = [merge_tokens(each.embedding.multi_vector, merge) for each in written]
    with closing(EdgeStore.open(tmp_path, SPEC, storage=storage)) as store:
        store.upsert(written)
        assert late_scores(store, written) == pytest.approx(maxsim(QUERY, exact), abs=off)
        store.compact()
        assert late_scores(store, written) == pytest.approx(maxsim(QUERY, exact), abs=off)


def test_each_halving_of_the_bits_halves_what_lies_on_disk(tmp_path: Path) -> None:
    sizes = {}
    for bits in (16, 8, 4):
        wide = replace(SPEC, late_dim=128)
        with closing(EdgeStore.open(tmp_path / f"{bits}", wide, storage=StorageOptions(late_bits=bits))) as store:  # type: ignore[arg-type]
            store.upsert([_wide(number) for number in range(300)])
            store.compact()
        sizes[bits] = sum(
            file.stat().st_blocks * 512
            for folder in (tmp_path / f"{bits}" / "shard").rglob("vector_storage-late")
            for file in folder.rglob("*")
        )

    assert sizes[8] < 0.6 * sizes[16]
    assert sizes[4] < 0.6 * sizes[8]


def _wide(number: int) -> Record:
    rows = np.random.default_rng(number).standard_normal((100, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    made = record(f"wide {number}")
    return replace(made, embedding=replace(made.embedding, multi_vector=type(QUERY)(rows)))


def test_a_directory_tells_its_storage_when_it_is_opened_again(tmp_path: Path) -> None:
    storage = StorageOptions(merge_tokens=3, late_bits=4)
    EdgeStore.open(tmp_path, SPEC, storage=storage).close()

    with closing(EdgeStore.open(tmp_path, SPEC)) as store:
        assert store.storage == storage
    for other in (StorageOptions(), StorageOptions(merge_tokens=3), replace(storage, merge_tokens=2)):
        with pytest.raises(CollectionMismatch, match=r"every 3 tokens, 4 bits.*open it without storage"):
            EdgeStore.open(tmp_path, SPEC, storage=other)


def test_a_directory_of_an_older_version_keeps_a_row_for_each_token(tmp_path: Path) -> None:
    EdgeStore.open(tmp_path, SPEC).close()
    manifest = json.loads((tmp_path / "tercet.json").read_text())
    del manifest["storage"]
    (tmp_path / "tercet.json").write_text(json.dumps(manifest))

    with closing(EdgeStore.open(tmp_path, SPEC)) as store:
        assert store.storage == StorageOptions()


def test_a_lost_manifest_does_not_let_merged_and_whole_documents_mix(tmp_path: Path) -> None:
    with closing(EdgeStore.open(tmp_path, SPEC, storage=MERGED)) as store:
        store.upsert(records(2))
    (tmp_path / "tercet.json").unlink()

    with pytest.raises(CollectionMismatch, match="merge_tokens"):
        EdgeStore.open(tmp_path, SPEC)
    EdgeStore.open(tmp_path, SPEC, storage=MERGED).close()


def test_a_storage_of_a_later_version_is_named(tmp_path: Path) -> None:
    EdgeStore.open(tmp_path, SPEC).close()
    manifest = json.loads((tmp_path / "tercet.json").read_text())
    (tmp_path / "tercet.json").write_text(json.dumps({**manifest, "storage": {"late_bits": 2}}))

    with pytest.raises(CollectionMismatch, match="late_bits must be 16, 8 or 4, got 2"):
        EdgeStore.open(tmp_path, SPEC)


def test_a_repaired_directory_keeps_its_storage(tmp_path: Path) -> None:
    storage = StorageOptions(merge_tokens=2, late_bits=4)
    written = records(40)
    with closing(EdgeStore.open(tmp_path, SPEC, storage=storage)) as store:
        store.upsert(written)
        before = late_scores(store, written)
    for log in (tmp_path / "shard" / "wal").iterdir():
        if log.is_file():
            log.write_bytes(b"broken")

    if EdgeStore.repair(tmp_path) is None:
        pytest.skip("the engine opened a broken log")
    with closing(EdgeStore.open(tmp_path, SPEC)) as store:
        assert store.storage == storage
        assert late_scores(store, written) == pytest.approx(before, abs=1e-4)  # not rounded a second time


def test_a_collection_tells_its_storage_when_it_is_opened_again() -> None:
    client = QdrantClient(":memory:")
    storage = StorageOptions(merge_tokens=2, late_bits=8)
    QdrantStore.open(client, "tests", SPEC, storage=storage).close()
    created = client.get_collection("tests").config.params.vectors

    assert isinstance(created, dict)
    assert created[LATE].datatype == models.Datatype.TURBO8
    assert QdrantStore.open(client, "tests", SPEC).storage == storage
    with pytest.raises(CollectionMismatch, match="open it without storage"):
        QdrantStore.open(client, "tests", SPEC, storage=StorageOptions())


def test_four_bits_come_back_as_the_engine_scores_them(tmp_path: Path) -> None:
    written = records(20)
    with closing(EdgeStore.open(tmp_path, SPEC, storage=StorageOptions(late_bits=4))) as store:
        store.upsert(written)
        stored = store.read([store.key(each.document.id) for each in written], vectors=[LATE])
        for key, score in store.rerank([(QUERY, list(stored))])[0]:
            rows = stored[key].late
            assert rows is not None
            assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
            assert (QUERY.vectors @ rows.T).max(axis=1).sum() == pytest.approx(score, abs=0.02)


def test_a_server_that_keeps_no_description_is_told_by_its_points() -> None:
    client = QdrantClient(":memory:")
    with closing(QdrantStore.open(client, "tests", SPEC, storage=StorageOptions(merge_tokens=3, late_bits=4))) as store:
        store.upsert(records(2))
    client._client.collections["tests"].config.metadata = None  # type: ignore[attr-defined] # as servers before 1.16

    assert QdrantStore.open(client, "tests", SPEC).storage == StorageOptions(merge_tokens=3, late_bits=4)
    with pytest.raises(CollectionMismatch, match="every 3 tokens"):
        QdrantStore.open(client, "tests", SPEC, storage=StorageOptions(late_bits=4))


@pytest.mark.parametrize(
    ("version", "bits", "works"), [("1.18.2", 4, False), ("1.19.1", 4, True), ("1.19.1", 8, False)]
)
def test_a_server_too_old_for_the_bits_is_named(version: str, bits: int, works: bool) -> None:
    storage = StorageOptions(late_bits=bits)  # type: ignore[arg-type]
    with RestDouble(version=version) as double:
        if works:
            QdrantStore.open(double.url, "tests", SPEC, storage=storage).close()
        else:
            with pytest.raises(StoreError, match=rf"runs Qdrant {version}, which cannot keep vectors with {bits} bits"):
                QdrantStore.open(double.url, "tests", SPEC, storage=storage)


@pytest.mark.parametrize(
    "wrong", [{"merge_tokens": 0}, {"merge_tokens": 2.0}, {"merge_tokens": True}, {"late_bits": 1}]
)
def test_what_no_index_can_keep_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        StorageOptions(**wrong)  # type: ignore[arg-type]


def test_memory_rounds_nothing() -> None:
    with pytest.raises(ValueError, match="late_bits=4 belongs to an engine"):
        MemoryStore(SPEC, storage=StorageOptions(late_bits=4))
