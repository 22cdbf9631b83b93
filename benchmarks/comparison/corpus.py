"""Passages and an encoder that are the same for every store: what differs is the integration and its engine."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tercet.encoders.base import EncoderSpec
from tercet.encoders.mini import MiniEncoder
from tercet.reading import read_standard_library
from tercet.types import Embedding

QUERIES = (
    "find words that are spelled almost the same",
    "run a shell command and capture its output",
    "keep only the most recently used results of a function",
    "compare two files and show the differences",
    "stop a thread after some time",
    "parse command line arguments",
    "read a table from a text file",
    "send a message with an attachment",
    "round a decimal number",
    "walk through all folders",
)
_MODULES = ("argparse", "collections", "difflib", "functools", "json", "subprocess", "threading")


@dataclass(frozen=True, slots=True)
class Passage:
    """A text with an id that every store accepts: a UUID."""

    id: str
    text: str
    metadata: dict[str, Any]


def passages(count: int) -> list[Passage]:
    """Docstrings of Python's standard library. The first 250 come of a few modules that answer QUERIES."""
    few = itertools.islice(read_standard_library(_MODULES), 250)
    seen: dict[str, Passage] = {}
    for document in itertools.chain(few, read_standard_library()):
        seen.setdefault(
            document.id,
            Passage(str(uuid.uuid5(uuid.NAMESPACE_DNS, document.id)), document.text, dict(document.metadata)),
        )
        if len(seen) == count:
            return list(seen.values())
    raise ValueError(f"the standard library has {len(seen)} docstrings, asked for {count}")


class RememberingEncoder:
    """The shipped encoder, on one thread, which makes the vectors of a text once.

    Every store gets its vectors from here, so the checks do not wait for the model, and the timings are of the
    integrations and their engines alone.
    """

    def __init__(self) -> None:
        self._encoder = MiniEncoder(threads=1)
        self._queries: dict[str, Embedding] = {}
        self._documents: dict[str, Embedding] = {}

    @property
    def spec(self) -> EncoderSpec:
        return self._encoder.spec

    def encode_query(self, query: str) -> Embedding:
        if query not in self._queries:
            self._queries[query] = self._encoder.encode_query(query)
        return self._queries[query]

    def encode_queries(self, queries: Sequence[str]) -> list[Embedding]:
        return [self.encode_query(query) for query in queries]

    def encode_documents(self, documents: Iterable[str]) -> Iterator[Embedding]:
        texts = list(documents)
        new = list(dict.fromkeys(text for text in texts if text not in self._documents))
        self._documents.update(zip(new, self._encoder.encode_documents(new), strict=True))
        return iter([self._documents[text] for text in texts])

    def forget_queries(self) -> None:
        self._queries.clear()

    def terms(self, indices: Iterable[int]) -> list[str]:
        return self._encoder.terms(indices)
