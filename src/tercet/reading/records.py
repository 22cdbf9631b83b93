"""JSONL and CSV in, documents out: one record is one document, so judgements by id stay true."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tercet.errors import UnreadableFile
from tercet.types import Document

TEXT_NAMES = ("text", "contents", "content", "page_content", "passage", "body")
ID_NAMES = ("id", "_id", "docid", "doc_id")

#: What a line held: a document, or why it is none.
Line = tuple[int, Document | ValueError]


def read_jsonl(lines: Iterable[bytes], shown: str, *, source: str, text_column: str | None) -> Iterator[Line]:
    """One JSON object a line, as BEIR, Anserini and LangChain write them; empty lines are passed over.

    shown: the file's name in messages; `source` is that in metadata
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            if not isinstance(record, dict):
                raise ValueError(f"holds a JSON {_json_name(record)}, expected an object like {{'text': '…'}}")
            yield number, _document(record, source, text_column)
        except RecursionError:
            yield number, ValueError("is nested too deeply")
        except ValueError as error:  # also JSON, Unicode and InvalidDocument
            yield number, error


def read_csv(lines: Iterable[bytes], shown: str, *, source: str, text_column: str | None) -> Iterator[Line]:
    """A header row, then one document a row; the separator (, ; tab |) is the one that the header has most of.

    shown: the file's name in messages; `source` is that in metadata

    Raises:
        UnreadableFile: no header, no text column, bytes that are not UTF-8.
    """
    decoded = _decoded(lines, shown)
    header_line = next(decoded, "")
    delimiter = max(",;\t|", key=header_line.count)
    # Strict, because a quote that is never closed would otherwise swallow the rest of the file without a word.
    rows = csv.reader(_chained(header_line, decoded), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
    except csv.Error as error:
        raise UnreadableFile(f"{shown}:1: the header row cannot be read: {error}") from error
    if text_column is None and not any(name.lower() in TEXT_NAMES for name in header):
        raise UnreadableFile(
            f"{shown}:1: no text column among {', '.join(map(repr, header)) or 'no columns at all'}; expected one of "
            f"{', '.join(TEXT_NAMES)}, or name yours with text_column (--text-column)"
        )
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield rows.line_num, ValueError(str(error))
            continue
        if not row:
            continue
        try:
            if len(row) > len(header):
                raise ValueError(f"has {len(row)} cells, the header names {len(header)} columns")
            # An empty cell is a missing value.
            record = {name: cell for name, cell in zip(header, row, strict=False) if cell}
            yield rows.line_num, _document(record, source, text_column)
        except ValueError as error:
            yield rows.line_num, error


def _document(record: Mapping[str, Any], source: str, text_column: str | None) -> Document:
    rest = dict(record)
    names = {name.lower(): name for name in reversed(rest)}
    text_key = text_column if text_column is not None else _first(names, TEXT_NAMES)
    title_key = names.get("title")
    if text_key is None or (text_key not in rest and title_key is None):
        expected = " or ".join(map(repr, [text_column] if text_column is not None else TEXT_NAMES))
        raise ValueError(f"has no text under {expected}, its keys are {', '.join(map(repr, rest)) or 'none'}")
    text = rest.pop(text_key, "")
    if not isinstance(text, str):
        raise ValueError(f"the text under {text_key!r} must be a string, got a JSON {_json_name(text)}")
    title = rest.get(title_key) if title_key is not None else None
    if isinstance(title, str) and title.strip() and title_key != text_key:
        text = f"{title}\n{text}" if text.strip() else title
    id_key = _first(names, ID_NAMES)
    given = rest.pop(id_key) if id_key is not None and id_key != text_key else None
    if isinstance(given, bool) or not isinstance(given, str | int | None):
        raise ValueError(f"the id under {id_key!r} must be a string or a whole number, got a JSON {_json_name(given)}")
    inner = rest.pop("metadata", None)
    if isinstance(inner, Mapping):
        rest |= inner
    elif inner is not None:
        rest["metadata"] = inner
    rest.setdefault("source", source)
    return Document(text, id="" if given is None else str(given), metadata=rest)


def _first(names: Mapping[str, str], wanted: Iterable[str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _json_name(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _decoded(lines: Iterable[bytes], shown: str) -> Iterator[str]:
    offset = 0
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableFile(f"{shown}:{number}: {not_utf8(line, offset + error.start)}") from error
        offset += len(line)


def not_utf8(data: bytes, position: int) -> str:
    """The end of an error message: which byte is wrong, and what helps."""
    return f"is not UTF-8 (byte {position:,}); convert it, for example with: iconv -f latin1 -t utf-8"


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
