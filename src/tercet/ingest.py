"""Files into an index: paths in, what was done out. An index of files follows them: passages that are gone go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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

    added: what the index did with the documents that were read
    removed: ids of passages that their file, which was read again, no longer has
    skips: files and lines that gave no document
    """

    added: AddReport
    removed: tuple[str, ...]
    skips: tuple[Skip, ...]


@dataclass(slots=True)
class _Seen:
    """The ids of the passages that each file gave."""

    by_source: dict[str, set[str]] = field(default_factory=dict)

    def watch(self, documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            source = document.metadata.get("source")
            # Only passages are named after their file; a record's own "source" may mean anything.
            if isinstance(source, str) and document.id.startswith(f"{source}#"):
                self.by_source.setdefault(source, set()).add(document.id)
            yield document


def index_paths(
    index: HybridIndex,
    paths: Iterable[str | Path],
    *,
    max_words: int = DEFAULT_MAX_WORDS,
    text_column: str | None = None,
    on_error: Literal["skip", "raise"] = "skip",
    progress: bool | None = None,
) -> IngestReport:
    """Index files and folders (see `tercet.reading.read_documents`) and remove what they no longer hold.

    A file that was deleted or could not be read keeps its passages; `index.delete(where={"source": …})` removes them.

    Raises:
        UnreadableFile: there is no such path; with on_error="raise" also a file or line that cannot be read.
    """
    skips: list[Skip] = []
    seen = _Seen()
    documents = read_documents(
        paths, max_words=max_words, text_column=text_column, on_skip=None if on_error == "raise" else skips.append
    )
    report = index.add(seen.watch(documents), on_error=on_error, progress=progress)
    return IngestReport(report, tuple(_remove_stale(index, seen)), tuple(skips))


def _remove_stale(index: HybridIndex, seen: _Seen) -> Iterator[str]:
    sources = list(seen.by_source)
    for start in range(0, len(sources), _SOURCES_AT_ONCE):
        part = sources[start : start + _SOURCES_AT_ONCE]
        stale = [
            document.id
            for document in index.scroll({"source": part})
            if document.id.startswith(f"{document.metadata['source']}#")
            and document.id not in seen.by_source[document.metadata["source"]]
        ]
        if stale:
            index.delete(stale)
        yield from stale
