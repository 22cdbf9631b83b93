"""Documents of any form in, checked batches and a report out: the first half of the way of a document."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from tercet.errors import InvalidDocument
from tercet.types import AddReport, Document, Failure

logger = logging.getLogger(__name__)

#: What `add` takes for one document: its text, a Document, or a mapping {"text": …, "id": …, "metadata": {…}}.
Addable: TypeAlias = str | Document | Mapping[str, Any]
#: Documents that are looked up, encoded and written together, and bytes of text beyond which a batch is full with less.
#: What one such step wrote is acknowledged.
ADD_BATCH, ADD_BYTES = 256, 4 << 20


class Numbered(NamedTuple):
    """A document with its position in the input, from 0."""

    position: int
    document: Document


class Tally:
    """What an `add` has done so far, and what it does about documents that cannot be indexed."""

    def __init__(self, on_error: Literal["skip", "raise"]) -> None:
        self.on_error = on_error
        self.added: list[str] = []
        self.updated: list[str] = []
        self.skipped: list[str] = []
        self.truncated: list[str] = []
        self.failed: list[Failure] = []

    def fail(self, position: int, id_: str | None, error: InvalidDocument) -> None:
        if self.on_error == "raise":
            raise InvalidDocument(f"document at position {position}: {error}") from error
        self.failed.append(Failure(position, id_, str(error)))
        logger.warning("document at position %d is left out: %s", position, error)

    def note(self) -> str:
        return f"{len(self.failed):,} failed" if self.failed else ""

    def report(self, shown_id: Callable[[str], str]) -> AddReport:
        """What was done, with ids as the caller knows them."""
        # An id that came twice, in different batches, is named once.
        added, updated = dict.fromkeys(self.added), dict.fromkeys(self.updated)
        return AddReport(
            added=tuple(map(shown_id, added)),
            updated=tuple(shown_id(id_) for id_ in updated if id_ not in added),
            skipped=tuple(
                shown_id(id_) for id_ in dict.fromkeys(self.skipped) if id_ not in added and id_ not in updated
            ),
            failed=tuple(self.failed),
            truncated=tuple(map(shown_id, dict.fromkeys(self.truncated))),
        )


def read_batches(
    documents: Iterable[Addable], tally: Tally, stored: Callable[[Document], Document]
) -> Iterator[tuple[int, dict[str, Numbered]]]:
    """Yield (documents read, those that can be indexed by id, the last of each), a batch at a time.

    stored: a caller's document as it is to be kept; may raise InvalidDocument

    Each is checked and copied as it is read: a source that fills the same dict again and again is no surprise. Where
    the source breaks off, what it gave is yielded before its error is raised.
    """
    numbered = enumerate(documents)
    while True:
        batch: dict[str, Numbered] = {}
        read = size = 0
        broken: Exception | None = None
        try:
            for position, addable in numbered:
                read += 1
                try:
                    document = stored(_document(addable))
                except InvalidDocument as error:
                    id_ = addable.get("id") if isinstance(addable, Mapping) else None
                    tally.fail(position, id_ if isinstance(id_, str) else None, error)
                    continue
                batch[document.id] = Numbered(position, document)
                size += len(document.text)
                if len(batch) >= ADD_BATCH or size >= ADD_BYTES:
                    break
        except InvalidDocument:
            raise
        except Exception as error:  # noqa: BLE001 (whatever the caller's iterable raises, after what it gave is written)
            broken = error
        if batch or read:
            yield read, batch
        if broken is not None:
            raise broken
        if not read:
            return


def _document(addable: object) -> Document:
    match addable:
        case Document():
            return addable
        case str():
            return Document(addable)
        case Mapping():
            if unknown := set(addable) - {"text", "id", "metadata"}:
                raise InvalidDocument(
                    f"a document has text, id and metadata, got also {', '.join(sorted(map(repr, unknown)))}; "
                    f"put other entries under metadata"
                )
            if "text" not in addable:
                raise InvalidDocument("a document needs an entry 'text'")
            id_, metadata = addable.get("id"), addable.get("metadata")
            return Document(addable["text"], "" if id_ is None else id_, {} if metadata is None else metadata)
        case _:
            raise InvalidDocument(f"a document is a str, a Document or a dict, got {type(addable).__name__}")
