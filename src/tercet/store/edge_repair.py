"""An index that does not open in, one that does out: everything that can be read, copied to a new shard.

    kb/
      shard-aside-1/    the damaged shard, moved here first: from then on the repair has begun
      shard-copy/       the new one, which becomes shard/ when it is whole: then the repair is done

Both steps are one rename, so a repair that is killed anywhere leaves an index that says so when it is opened, and is
finished by repairing again.
"""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from tercet.errors import StoreError, StoreLocked, StoreReadOnly
from tercet.store.directory import check_free_space, disk_bytes, free_space, sync_directory
from tercet.store.edge_shard import shard_config, translated
from tercet.store.manifest import Manifest, read_manifest
from tercet.store.points import at_length_one
from tercet.types import LATE

_logger = logging.getLogger(__name__)


def repair(path: Path, *, free_space: Callable[[Path], int] = free_space) -> Path | None:
    """See `EdgeStore.repair`."""
    manifest = read_manifest(path)
    if manifest is None:
        raise StoreError(f"there is no index at {path} that could be repaired; check the path")
    shard, damaged = path / "shard", unfinished_repair(path)
    if not shard.exists() and damaged is None:
        raise StoreError(f"{path} has no shard, which holds the documents; put it back")
    source = _open(path, damaged or shard)
    if damaged is None and source is not None:
        source.close()
        return None

    try:
        # The copy is written to its log and to its segments, and perhaps once more when these are joined.
        check_free_space(path, free_space(path), needed=3 * disk_bytes(damaged or shard))
        with translated(path):
            if damaged is None:
                damaged = _numbered(path / "shard-aside")
                shard.rename(damaged)
                sync_directory(path)
            source = source or _load_without_log(damaged)
            count = _copy(source, path / "shard-copy", manifest)
    finally:
        if source is not None:
            source.close()
    with translated(path):
        (path / "shard-copy").rename(shard)
        sync_directory(path)
    _logger.warning("copied %d documents of %s to a new shard, the damaged one is %s", count, path, damaged)
    return damaged


def unfinished_repair(path: Path) -> Path | None:
    """The damaged shard of a repair that was interrupted."""
    aside = sorted(path.glob("shard-aside-*"), key=lambda place: (len(place.name), place.name))
    return aside[-1] if aside and not (path / "shard").exists() else None


def _open(path: Path, shard: Path) -> edge.EdgeShard | None:
    """None for a shard that is damaged."""
    try:
        with translated(path):
            return edge.EdgeShard.load(str(shard))
    except (StoreLocked, StoreReadOnly):
        raise
    except StoreError:
        return None


def _load_without_log(shard: Path) -> edge.EdgeShard:
    # Without its log a shard opens, but that is not enough: an update that panicked leaves its bad vector in a free
    # slot of the storage, and the next new document that takes the slot panics on it. Hence the copy.
    if (shard / "wal").exists():
        (shard / "wal").rename(_numbered(shard / "wal-aside"))
    return edge.EdgeShard.load(str(shard))


def _copy(source: edge.EdgeShard, place: Path, manifest: Manifest) -> int:
    if place.exists():  # of a repair that was interrupted
        shutil.rmtree(place)
    target = edge.EdgeShard.create(str(place), _config(manifest))
    for field, index in source.info().payload_schema.items():
        target.update(edge.UpdateOperation.create_field_index(field, index.data_type))
    offset: Any = None
    while True:
        page = edge.ScrollRequest(offset=offset, limit=64, with_payload=True, with_vector=True)
        points, offset = source.scroll(page)
        copies = [edge.Point(point.id, _vectors(point), point.payload) for point in points]
        target.update(edge.UpdateOperation.upsert_points(copies))
        if offset is None:
            break
    count = target.count(edge.CountRequest(exact=True))
    target.flush()
    target.close()
    return count


def _vectors(point: edge.Record) -> dict[str, Any]:
    vectors: dict[str, Any] = dict(point.vector or {})  # type: ignore[arg-type] # all of an index's vectors are named
    if LATE in vectors:
        vectors[LATE] = at_length_one(np.array(vectors[LATE], np.float32)).tolist()
    return vectors


def _config(manifest: Manifest) -> edge.EdgeConfig:
    return shard_config(manifest.encoder, hnsw=manifest.hnsw, storage=manifest.storage)


def _numbered(path: Path) -> Path:
    """The first of path-1, path-2 … that is free."""
    return next(free for n in itertools.count(1) if not (free := path.with_name(f"{path.name}-{n}")).exists())
