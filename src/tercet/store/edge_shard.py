"""Qdrant Edge's shard: how one is laid out and rebuilt, and what its failures mean."""

from __future__ import annotations

import errno
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import qdrant_edge as edge

from tercet.encoders.base import EncoderSpec
from tercet.errors import StoreError, StoreLocked
from tercet.storage import LateBits, StorageOptions
from tercet.store import _optimize
from tercet.store.directory import store_error
from tercet.store.payload import TERMS
from tercet.types import DENSE, LATE, SPARSE

#: The engine's names for what `StorageOptions.late_bits` may be.
LATE_DATATYPES: Mapping[LateBits, edge.VectorStorageDatatype] = {
    16: edge.VectorStorageDatatype.Float16,
    8: edge.VectorStorageDatatype.Turbo8,
    4: edge.VectorStorageDatatype.Turbo4,  # type: ignore[attr-defined] # the stub has forgotten it, the binding has not
}


def shard_config(spec: EncoderSpec, *, hnsw: bool, storage: StorageOptions) -> edge.EdgeConfig:
    """The three vectors of an index.

    A dense search reads every vector, as 4 bits a number, and scores the best anew with the vectors themselves: over
    50,000 documents 2.1 ms instead of 8.3, with the same hundred found (of 10,000 found by 100 queries, none differed).
    m=0 builds no graph: late interaction only ever scores given ids, and reading all is faster than the rest of a query
    up to about 200,000 documents.
    """
    # The stub calls the other two optional, the binding does not.
    none = edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10)
    graph = edge.HnswIndexConfig(m=16, ef_construct=128, full_scan_threshold=10_000)
    four_bits = edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits4, memory=edge.Memory.Pinned)
    half = edge.VectorStorageDatatype.Float16
    return edge.EdgeConfig(
        vectors={
            DENSE: edge.EdgeVectorParams(
                spec.dense_dim,
                edge.Distance.Cosine,
                quantization_config=four_bits,
                hnsw_config=graph if hnsw else none,
            ),
            LATE: edge.EdgeVectorParams(
                spec.late_dim,
                edge.Distance.Dot,
                multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
                datatype=LATE_DATATYPES[storage.late_bits],
                hnsw_config=none,
                memory=edge.Memory.Cold,
            ),
        },
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(datatype=half)},
    )


def index_terms(shard: edge.EdgeShard) -> None:
    """Make the index that every equality filter asks where it is missing: its maker may have been killed before."""
    if TERMS not in shard.info().payload_schema:
        shard.update(edge.UpdateOperation.create_field_index(TERMS, edge.PayloadSchemaType.Keyword))


def optimize_in_child(shard: Path) -> None:
    """Rebuild a closed shard's segments in a process of its own.

    In this process the engine would hold the interpreter lock throughout, 6 seconds for 50,000 documents and a minute
    with HNSW.
    """
    index = shard.parent
    # A script by its path, not multiprocessing: that would import the caller's main module once more.
    engine_folder = Path(edge.__file__).parents[1]
    command = [sys.executable, "-P", _optimize.__file__, str(engine_folder), str(shard)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise StoreError(
            f"{index} could not be compacted, for no process could be started ({error}); nothing was changed"
        ) from error
    if done.returncode:
        signal = f"ended by signal {-done.returncode}, perhaps for want of memory"
        status = signal if done.returncode < 0 else f"exit status {done.returncode}"
        reason = (done.stderr.strip().splitlines() or [status])[-1]
        raise StoreError(f"{index} could not be compacted: {reason}; the documents are as they were")


class EnginePanic(StoreError):
    """A panic of the engine's Rust code, which arrives as a BaseException."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the engine's failures on the index at `path` into tercet's own."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise store_error(path, error) from error
    except Exception as error:
        # The binding raises plain Exceptions that differ in their text alone.
        message = str(error)
        if "WouldBlock" in message:
            raise StoreLocked(
                f"{path} is already open, in another process or by another store object in this one; close that one "
                f"first. One process at a time can have an index open, for more of them use a Qdrant server"
            ) from error
        for text, code in (
            ("Read-only file system", errno.EROFS),
            ("Permission denied", errno.EACCES),
            ("No space left", errno.ENOSPC),
        ):
            if text in message:
                raise store_error(path, OSError(code, message)) from error
        raise StoreError(
            f"the engine refused {path}: {message}; if the index does not open any more, {repair_advice(path)}"
        ) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3 gives the class no importable name
            raise
        raise EnginePanic(
            f"the engine failed on {path}: {error}; close the index, {repair_advice(path)} and open it again"
        ) from error


def repair_advice(path: Path) -> str:
    return f"run `tercet repair {shlex.quote(str(path))}`"
