"""The guards around Qdrant Edge: each of its traps, and what stands before it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import qdrant_edge as edge

from tercet.errors import CollectionMismatch, StoreError, StoreFull, StoreLocked, StoreReadOnly
from tercet.filters import parse_filter
from tercet.storage import StorageOptions
from tercet.store.directory import disk_bytes
from tercet.store.edge import FLUSH_EVERY, EdgeStore
from tercet.store.edge_shard import shard_config
from tercet.store.payload import MAX_RANGE_INDEXES
from tercet.types import Record
from tests.store.samples import SPEC, assert_same_ranking, embedding, query, record, records


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def store(place: Path) -> Iterator[EdgeStore]:
    with closing(EdgeStore.open(place, SPEC)) as store:
        yield store


def poison(id: str) -> Record:
    """What `SparseVector` refuses to be: more indices than values, which makes the engine panic."""
    bad = embedding(3)
    object.__setattr__(bad.sparse, "values", bad.sparse.values[:1])
    return record(id, embedding=bad)


def test_an_index_opens_again_with_what_it_held(place: Path) -> None:
    with closing(EdgeStore.open(place, SPEC)) as store:
        store.upsert(records(30))
        before = store.prefetch([query(0)], ["dense", "sparse"], limit=9)

    with closing(EdgeStore.open(place, SPEC, create=False)) as store:
        assert store.count() == 30
        assert store.prefetch([query(0)], ["dense", "sparse"], limit=9) == before


def test_the_manifest_tells_the_encoder_before_anything_is_written(place: Path, store: EdgeStore) -> None:
    manifest = json.loads((place / "tercet.json").read_text())

    assert manifest["format"] == 1
    assert manifest["encoder"] == {
        "name": "tiny", "fingerprint": "tiny-1", "dense_dim": 16, "late_dim": 8, "vocabulary_size": 500,
    }  # fmt: skip
    assert sorted(os.listdir(place)) == ["shard", "tercet.json"]


def test_another_models_index_is_refused_and_both_are_named(place: Path) -> None:
    EdgeStore.open(place, SPEC).close()

    with pytest.raises(CollectionMismatch, match=r"tiny-1.*'other' .*tiny-2"):
        EdgeStore.open(place, replace(SPEC, name="other", fingerprint="tiny-2"))


def test_a_model_by_another_name_is_the_same_model(place: Path) -> None:
    EdgeStore.open(place, SPEC).close()

    EdgeStore.open(place, replace(SPEC, name="/elsewhere/tiny")).close()


def test_a_directory_of_other_things_is_refused_and_left_alone(place: Path) -> None:
    place.mkdir()
    (place / "thesis.tex").write_text("42")

    with pytest.raises(CollectionMismatch, match=r"thesis\.tex"):
        EdgeStore.open(place, SPEC)

    assert os.listdir(place) == ["thesis.tex"]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": 1, "encoder": {"name": 1}, "hnsw": false}'])
def test_a_manifest_of_another_program_is_refused(place: Path, content: str) -> None:
    place.mkdir()
    (place / "tercet.json").write_text(content)

    with pytest.raises(CollectionMismatch, match="manifest"):
        EdgeStore.open(place, SPEC)


def test_a_later_format_is_refused(place: Path) -> None:
    EdgeStore.open(place, SPEC).close()
    manifest = json.loads((place / "tercet.json").read_text())
    (place / "tercet.json").write_text(json.dumps({**manifest, "format": 2}))

    with pytest.raises(CollectionMismatch, match="format 2"):
        EdgeStore.open(place, SPEC)


def test_an_interrupted_creation_is_taken_up(place: Path) -> None:
    EdgeStore.open(place, SPEC).close()
    (place / "tercet.json").unlink()  # which is written last

    with closing(EdgeStore.open(place, SPEC)) as store:
        store.upsert(records(1))
        assert (place / "tercet.json").exists()


def test_an_index_that_lost_its_manifest_is_told_by_its_documents(place: Path) -> None:
    with closing(EdgeStore.open(place, SPEC)) as store:
        store.upsert(records(3))
    (place / "tercet.json").unlink()

    for other in (replace(SPEC, name="other", fingerprint="tiny-2"), replace(SPEC, fingerprint="tiny-3", dense_dim=32)):
        with pytest.raises(CollectionMismatch, match=r"fingerprint tiny-1, but .*tiny-[23]"):
            EdgeStore.open(place, other)
        assert not (place / "tercet.json").exists()
    with closing(EdgeStore.open(place, SPEC)) as store:
        assert store.count() == 3


def test_an_index_that_another_process_made_meanwhile_is_not_taken_over(place: Path) -> None:
    def made_meanwhile(path: Path) -> int:
        EdgeStore.open(path, replace(SPEC, fingerprint="tiny-2")).close()
        return 10**12

    with pytest.raises(CollectionMismatch, match="tiny-2"):
        EdgeStore.open(place, SPEC, free_space=made_meanwhile)

    EdgeStore.open(place, replace(SPEC, fingerprint="tiny-2")).close()


def test_a_shard_that_never_got_its_index_of_terms_gets_it(place: Path) -> None:
    place.mkdir()
    edge.EdgeShard.create(
        str(place / "shard"), shard_config(SPEC, hnsw=False, storage=StorageOptions())
    ).close()  # and then the maker died

    with closing(EdgeStore.open(place, SPEC)) as store:
        assert store._shard is not None
        assert list(store._shard.info().payload_schema) == ["tercet.terms"]


def test_no_index_and_none_to_make_is_an_error(place: Path) -> None:
    with pytest.raises(StoreError, match="there is no index"):
        EdgeStore.open(place, SPEC, create=False)
    assert not place.exists()


def test_a_file_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(CollectionMismatch, match="file"):
        EdgeStore.open(tmp_path / "file", SPEC)


def test_a_second_open_in_this_process_is_refused(place: Path, store: EdgeStore) -> None:
    with pytest.raises(StoreLocked, match="already open"):
        EdgeStore.open(place, SPEC)
    with pytest.raises(StoreLocked, match="already open"):
        EdgeStore.repair(place)

    store.upsert(records(1))
    assert store.count() == 1


def test_kill_loses_nothing_acknowledged_and_holds_the_lock_until_then(place: Path) -> None:
    with _writer(place) as process:
        acknowledged = [int(process.stdout.readline()) for _ in range(8)]  # type: ignore[union-attr]
        with pytest.raises(StoreLocked, match="another process"):
            EdgeStore.open(place, SPEC)
        process.send_signal(signal.SIGKILL)
        acknowledged += map(int, process.stdout)  # type: ignore[arg-type]

    with closing(EdgeStore.open(place, SPEC)) as store:
        expected = {f"{batch}-{n}" for batch in acknowledged for n in range(20)}
        stored = {document.id for document in store.scroll()}
        assert expected <= stored
        # The batch that was cut off is there or not. points_count may be double here.
        assert store.count() == len(stored) <= len(expected) + 20


def test_a_directory_that_cannot_be_written_is_told(place: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # for root no permission is missing
        try:
            with pytest.raises(StoreReadOnly, match="cannot be written"):
                EdgeStore.open(directory, SPEC)
        finally:
            os.seteuid(user)


def test_a_disk_that_is_nearly_full_is_not_written_to(place: Path) -> None:
    free = [10**12]
    with closing(EdgeStore.open(place, SPEC, free_space=lambda path: free[0])) as store:
        store.upsert(records(5))
        free[0] = 100 << 20
        with pytest.raises(StoreFull, match="100 MiB left"):
            store.upsert(records(10))

        assert store.count() == 5
        assert len(store.prefetch([query(0)], ["dense"], limit=9)[0]["dense"]) == 5


def test_no_index_is_made_on_a_disk_that_is_nearly_full(place: Path) -> None:
    with pytest.raises(StoreFull):
        EdgeStore.open(place, SPEC, free_space=lambda path: 0)
    assert not (place / "shard").exists()


def test_after_a_panic_the_store_reads_and_writes_no_more(store: EdgeStore) -> None:
    store.upsert(records(5))

    with pytest.raises(StoreError, match="index out of bounds"):
        store.upsert([poison("bad")])
    for change in (
        lambda: store.upsert([record("good")]),
        lambda: store.delete(["001"]),
        lambda: store.delete_where(parse_filter({"lang": "en"})),
        store.compact,
    ):
        with pytest.raises(StoreError, match=r"takes no more changes.*`tercet repair "):
            change()

    assert store.read([store.key("004")])
    assert len(store.prefetch([query(0)], ["dense"], limit=5)[0]["dense"]) == 5


def test_an_index_that_does_not_open_is_repaired_only_when_asked(place: Path) -> None:
    with closing(EdgeStore.open(place, SPEC)) as store:
        store.upsert(records(5))
        before = store.prefetch([query(0)], ["dense", "sparse"], limit=5)
        with pytest.raises(StoreError):
            store.upsert([poison("bad")])
    with pytest.raises(StoreError, match=rf"run `tercet repair {place}`"):
        EdgeStore.open(place, SPEC)

    aside = EdgeStore.repair(place)

    assert aside is not None
    assert any(aside.iterdir())
    with closing(EdgeStore.open(place, SPEC)) as store:
        assert store.prefetch([query(0)], ["dense", "sparse"], limit=5) == before
        store.upsert(records(20))  # which panics where only the log was moved aside
        assert store.count(parse_filter({"lang": "en"})) == 10
    EdgeStore.open(place, SPEC).close()


@pytest.mark.parametrize("done", ["moved", "log moved", "half copied"])
def test_a_repair_that_was_interrupted_is_told_and_finished_by_the_next(place: Path, done: str) -> None:
    with closing(EdgeStore.open(place, SPEC)) as store:
        store.upsert(records(5))
        with pytest.raises(StoreError):
            store.upsert([poison("bad")])
    aside = place / "shard-aside-1"
    (place / "shard").rename(aside)
    if done != "moved":
        (aside / "wal").rename(aside / "wal-aside-1")
    if done == "half copied":
        edge.EdgeShard.create(
            str(place / "shard-copy"), shard_config(SPEC, hnsw=False, storage=StorageOptions())
        ).close()

    with pytest.raises(StoreError, match="interrupted; run `tercet repair"):
        EdgeStore.open(place, SPEC)
    assert EdgeStore.repair(place) == aside

    assert sorted(os.listdir(place)) == ["shard", "shard-aside-1", "tercet.json"]
    with closing(EdgeStore.open(place, SPEC)) as store:
        assert store.count() == 5
        store.upsert(records(20))
    assert EdgeStore.repair(place) is None


def test_an_index_that_lost_its_shard_is_not_taken_for_an_empty_one(place: Path) -> None:
    EdgeStore.open(place, SPEC).close()
    (place / "shard").rename(place / "elsewhere")

    with pytest.raises(StoreError, match="no shard"):
        EdgeStore.open(place, SPEC)
    with pytest.raises(StoreError, match="no shard"):
        EdgeStore.repair(place)


def test_there_is_nothing_to_repair_in_an_index_that_opens(place: Path) -> None:
    EdgeStore.open(place, SPEC).close()

    assert EdgeStore.repair(place) is None
    with pytest.raises(StoreError, match="no index"):
        EdgeStore.repair(place / "elsewhere")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_is_told_instead_of_hanging(store: EdgeStore) -> None:
    store.upsert(records(2))
    held = threading.Event()
    release = threading.Event()
    holder = threading.Thread(target=_hold, args=(store, held, release))
    holder.start()  # a thread that is in a call while the process forks
    held.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
        child = os.fork()
    if child == 0:
        try:
            store.count()
        except StoreError as error:
            store.close()
            os._exit(0 if "spawn" in str(error) else 1)
        os._exit(2)
    release.set()
    holder.join()

    assert _exit_code(child) == 0
    assert store.count() == 2


def test_a_closed_store_says_so(place: Path) -> None:
    store = EdgeStore.open(place, SPEC)
    store.close()

    with pytest.raises(StoreError, match="is closed"):
        store.count()


def test_compacting_gives_the_space_of_deleted_documents_back(store: EdgeStore) -> None:
    store.upsert(records(1_250))
    store.delete_where(parse_filter({"n": {"gte": 200}}))
    before = store.prefetch([query(0)], ["dense"], limit=10)[0]["dense"]

    store.compact()

    assert store.count() == 200
    assert_same_ranking(store.prefetch([query(0)], ["dense"], limit=10)[0]["dense"], before, tolerance=1e-5)
    assert store._shard is not None
    assert store._shard.info().points_count == 200  # the engine's own count includes what is not reclaimed


@pytest.mark.parametrize("python", ["/bin/false", "/nonexistent/python", ""])
def test_a_compaction_that_fails_leaves_the_index_open(
    store: EdgeStore, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    store.upsert(records(5))
    monkeypatch.setattr(sys, "executable", python)

    with pytest.raises(StoreError, match="could not be compacted"):
        store.compact()

    store.upsert([record("more")])
    assert store.count() == 6


def test_a_compaction_needs_the_space_that_the_index_takes(place: Path) -> None:
    free = [10**12]
    with closing(EdgeStore.open(place, SPEC, free_space=lambda path: free[0])) as store:
        store.upsert(records(5))
        store.flush()
        free[0] = (256 << 20) + disk_bytes(place / "shard") - 1
        with pytest.raises(StoreFull, match="writing safely takes"):
            store.compact()

        assert store.count() == 5


def test_files_that_vanish_while_they_are_measured_count_nothing(tmp_path: Path) -> None:
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            for n in range(20):
                (tmp_path / str(n)).touch()
            for n in range(20):
                (tmp_path / str(n)).unlink()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert {disk_bytes(tmp_path) for _ in range(500)} == {0}
    finally:
        stop.set()
        thread.join()


def test_a_graph_is_an_option_that_the_index_remembers(place: Path) -> None:
    with closing(EdgeStore.open(place, SPEC, hnsw=True)) as store:
        store.upsert(records(300))
        store.compact()
        assert store.describe()["dense index"] == "hnsw"
        assert len(store.prefetch([query(0)], ["dense"], limit=10)[0]["dense"]) == 10

    with closing(EdgeStore.open(place, SPEC)) as store:
        assert store.describe()["dense index"] == "hnsw"
    with closing(EdgeStore.open(place, SPEC, hnsw=False)) as store:
        assert store.describe()["dense index"] == "scan"


def test_writes_are_flushed_every_so_often(store: EdgeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    flushes: list[int] = []
    flush = EdgeStore.flush
    monkeypatch.setattr(EdgeStore, "flush", lambda self: (flushes.append(self.count()), flush(self)))

    twin = embedding(1)
    for start in range(0, FLUSH_EVERY + 500, 500):
        store.upsert([record(str(n), embedding=twin) for n in range(start, start + 500)])

    assert flushes == [FLUSH_EVERY]


def test_number_and_date_fields_are_indexed_up_to_a_limit(store: EdgeStore) -> None:
    store.upsert([record("a", metadata={f"field{n}": n for n in range(2 * MAX_RANGE_INDEXES)})])

    assert store._shard is not None
    schema = store._shard.info().payload_schema
    assert len(schema) == MAX_RANGE_INDEXES + 1
    assert store.count(parse_filter({"field31": {"gte": 31}})) == 1


def _writer(place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.crash_writer", str(place)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
    )


def _hold(store: EdgeStore, held: threading.Event, release: threading.Event) -> None:
    with store._lock:
        held.set()
        release.wait()


def _exit_code(child: int, *, seconds: float = 20) -> int:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1
