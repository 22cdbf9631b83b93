"""What an index says of itself: its format, the encoder that fills it, and how it keeps token vectors.

On a server this lies in the collection's metadata, on disk in tercet.json beside the shard.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tercet.encoders.base import EncoderSpec
from tercet.errors import CollectionMismatch
from tercet.storage import StorageOptions
from tercet.store.directory import os_errors_translated, store_error, sync_directory

FORMAT = 1
MANIFEST = "tercet.json"


def self_description(spec: EncoderSpec, storage: StorageOptions) -> dict[str, Any]:
    """What `encoder_of` and `storage_of` read."""
    return {"format": FORMAT, "encoder": dict(spec.to_dict()), "storage": dict(storage.to_dict())}


def encoder_of(description: object, where: str) -> EncoderSpec:
    """The encoder that filled the index at `where`; raises CollectionMismatch for what this version cannot read."""
    if not isinstance(description, Mapping) or not isinstance(description.get("encoder"), Mapping):
        raise CollectionMismatch(f"{where} does not tell its encoder, so tercet did not make it; use another place")
    if (found := description.get("format")) != FORMAT:
        raise CollectionMismatch(
            f"{where} has format {found}, this version of tercet reads format {FORMAT}; "
            f"use the version that made it, or index the documents again"
        )
    try:
        return EncoderSpec(**description["encoder"])
    except TypeError as error:
        raise CollectionMismatch(
            f"{where} describes its encoder in a way that this version of tercet cannot read ({error}); "
            f"use the version that made it, or index the documents again"
        ) from error


def storage_of(description: Mapping[str, Any], where: str) -> StorageOptions:
    """How the index at `where` keeps token vectors; one that does not say is of a version that had no choice.

    Raises:
        CollectionMismatch: in a way that this version does not know.
    """
    try:
        return StorageOptions(**description.get("storage", {}))
    except (TypeError, ValueError) as error:
        raise CollectionMismatch(
            f"{where} describes its storage in a way that this version of tercet cannot read ({error}); "
            f"use the version that made it, or index the documents again"
        ) from error


@dataclass(frozen=True, slots=True)
class Manifest:
    """What tercet.json says."""

    encoder: EncoderSpec
    hnsw: bool
    storage: StorageOptions


def read_manifest(path: Path) -> Manifest | None:
    """None where there is no manifest: nothing at all, what an interrupted `open` left, or an index that lost it.

    Raises:
        CollectionMismatch: the directory holds something else, or an index of another version.
    """
    file = path / MANIFEST
    try:
        if not file.exists():
            # The shard is made before the manifest, and documents are written after it.
            others = sorted(name for name in os.listdir(path) if name != "shard" and not name.startswith(MANIFEST))
            if others:
                raise CollectionMismatch(
                    f"{path} is not a tercet index: it has no {MANIFEST}, but {', '.join(others[:3])}; "
                    f"give the index a directory of its own"
                )
            return None
        content = json.loads(file.read_text(encoding="utf-8"))
        where = f"the manifest {file}"
        return Manifest(encoder_of(content, where), bool(content.get("hnsw")), storage_of(content, where))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise CollectionMismatch(f"{path} is not a tercet index but a file; give the index a directory") from None
    except OSError as error:
        raise store_error(path, error) from error
    except ValueError as error:  # no JSON, or no text
        raise CollectionMismatch(
            f"{file} is not the manifest of a tercet index ({error}); give the index a directory of its own"
        ) from error


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Written whole or not at all, also if the power fails."""
    content = {
        **self_description(manifest.encoder, manifest.storage),
        "engine": f"qdrant-edge {version('qdrant-edge-py')}",
        "hnsw": manifest.hnsw,
    }
    temporary = temporary_manifest(path)
    with os_errors_translated(path):
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path / MANIFEST)
        sync_directory(path)


def temporary_manifest(path: Path) -> Path:
    """A file of this process alone, which a crash may leave behind and `read_manifest` passes over."""
    return path / f"{MANIFEST}.{os.getpid()}.tmp"
