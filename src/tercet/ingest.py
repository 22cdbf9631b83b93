"""Files into an index: paths in, what was done out. An index of files follows them: passages that are gone go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from tercet.index import HybridIndex
from tercet.reading import Skip, read_documents
from tercet.reading.passages import DEFAULT_MAX_WORDS
from tercet.types import AddReport, Document

#: Files that are looked up together for passages that they no longer have.
_SOURCES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What `index_paths` did.

    indexed: what the index did with the documents that were read
    removed: ids of passages that their file, which was read again, no longer has
    skips: files and lines that gave no document
    """

    indexed: AddReport
    removed: tuple[str, ...]
    skips: tuple[Skip, ...]


def index_paths(
    index: HybridIndex,
    paths: Iterable[str | Path],
    *,
    root: str | Path | None = None,
    max_words: int = DEFAULT_MAX_WORDS,
    text_column: str | None = None,
    on_error: Literal["skip", "raise"] = "skip",
    progress: bool | None = None,
) -> IngestReport:
    """Index files and folders (see `tercet.reading.read_documents`) and remove what they no longer hold.

    Only a file that was read to its end, be it empty now, loses passages. One that was deleted or could not be read
    keeps them; `index.delete(where={"source": …})` removes them.

    root: `source`, with which a passage's id begins, is a file's path below this folder, or its absolute path where it
        lies elsewhere. So the name of a file, unlike that which was typed, is the same from every working directory,
        and no two files share one. None takes the folder that holds an index's directory, so that both can be moved
        together; with a server or in memory all paths are absolute.

    Raises:
        UnreadableFile: there is no such path; with on_error="raise" also a file or line that cannot be read.
    """
    skips: list[Skip] = []
    read: list[str] = []
    given: set[str] = set()
    documents = read_documents(
        paths,
        max_words=max_words,
        text_column=text_column,
        name_source=_naming(index, root),
        on_skip=None if on_error == "raise" else skips.append,
        on_prose=read.append,
    )
    indexed = index.add(_watched(documents, given), on_error=on_error, progress=progress)
    return IngestReport(indexed, tuple(_remove_stale(index, read, given)), tuple(skips))


def _naming(index: HybridIndex, root: str | Path | None) -> Callable[[Path], str]:
    if root is None:
        directory = index.info().get("path")
        root = Path(directory).parent if isinstance(directory, str) else None
    return partial(_source, root=None if root is None else Path(os.path.realpath(root)))


def _source(path: Path, *, root: Path | None) -> str:
    # The folder's own name, as links lead to it in many ways; a link to a file is what it is called.
    absolute = Path(os.path.realpath(path.parent), path.name)
    return (absolute.relative_to(root) if root is not None and absolute.is_relative_to(root) else absolute).as_posix()


def _watched(documents: Iterable[Document], passages: set[str]) -> Iterator[Document]:
    for document in documents:
        if _is_passage(document):
            passages.add(document.id)
        yield document


def _is_passage(document: Document) -> bool:
    """Whether it was cut from its source; a record's own "source" may mean anything."""
    metadata = document.metadata
    return "start" in metadata and "headings" in metadata and document.id.startswith(f"{metadata.get('source')}#")


def _remove_stale(index: HybridIndex, sources: list[str], given: set[str]) -> Iterator[str]:
    for start in range(0, len(sources), _SOURCES_AT_ONCE):
        stored = index.scroll({"source": sources[start : start + _SOURCES_AT_ONCE]})
        stale = [document.id for document in stored if _is_passage(document) and document.id not in given]
        if stale:
            index.delete(stale)
        yield from stale
