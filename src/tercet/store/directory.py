"""The directory of an index: whether it can be written, has room, how much it takes; its failures as tercet's own."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tercet.errors import StoreError, StoreFull, StoreReadOnly

#: The engine maps its files ahead of use and dies of SIGBUS where the disk cannot follow.
FREE_SPACE_RESERVE = 256 << 20


def free_space(path: Path) -> int:
    """Bytes that can be written to the disk of `path`."""
    return shutil.disk_usage(path).free


def check_free_space(path: Path, free: int, *, needed: int) -> None:
    """Raises StoreFull if writing `needed` bytes would leave too little."""
    needed += FREE_SPACE_RESERVE
    if free < needed:
        raise StoreFull(
            f"the disk of {path} has {free / 2**20:,.0f} MiB left, writing safely takes {needed / 2**20:,.0f} MiB; "
            f"free some space, what was written is safe"
        )


def disk_bytes(path: Path) -> int:
    """What the files really take: the engine's are sparse, their lengths tell several times as much."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):  # the engine replaces files as it writes
                status = os.stat(os.path.join(folder, name))
                total += getattr(status, "st_blocks", status.st_size // 512) * 512
    return total


def make_writable(path: Path, *, probe: Path) -> None:
    """Make the directory and try to write `probe`: permission bits tell of no read-only mount, nor bind they root."""
    with os_errors_translated(path):
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()


def sync_directory(path: Path) -> None:
    """Make renames in this directory survive a loss of power."""
    if os.name == "nt":  # where a directory cannot be opened
        return
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def os_errors_translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise store_error(path, error) from error


def store_error(path: Path, error: OSError) -> StoreError:
    """What to tell of a failure of the operating system."""
    match error.errno:
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return StoreReadOnly(
                f"{path} cannot be written ({error.strerror}); the engine writes even to read, "
                f"so copy the index to a place that can be"
            )
        case errno.ENOSPC | errno.EDQUOT:
            return StoreFull(f"the disk of {path} is full; free some space and add the documents again")
        case _:
            return StoreError(f"{path} cannot be used: {error}")
