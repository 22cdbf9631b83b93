"""Files in, a judged collection out: documents, queries, and which documents answer which query.

BEIR folders (corpus.jsonl, queries.jsonl, qrels.tsv or qrels/test.tsv) and TREC qrels. What is wrong is named with its
file and line, because a judgement that is silently lost changes every figure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from tercet.errors import InvalidDocument, UnreadableFile
from tercet.evaluation.lines import Line, numbered_lines
from tercet.types import Document

Qrels: TypeAlias = dict[str, dict[str, int]]
"""The grade of each judged document, by query id: 0 or less is not relevant."""

OnError: TypeAlias = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class JudgedCollection:
    """A test collection.

    documents: empty where only queries and judgements were read, for an index that holds the documents already
    queries: the judged ones, by id
    notes: what was left out and why, with file and line
    places: of each document the "file:line" that first judges it; empty where no file was read
    """

    name: str
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    documents: tuple[Document, ...] = ()
    notes: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)


def read_collection(folder: str | Path, *, split: str = "test", on_error: OnError = "raise") -> JudgedCollection:
    """A BEIR folder. Without corpus.jsonl the documents are those of an index.

    split: the file in qrels/ where there is no qrels.tsv
    on_error: "skip" leaves out the lines that are wrong and names them in `notes`

    Queries without judgements and documents without a text are left out and named in `notes` in either case: BEIR's
    own folders have both.

    Raises:
        UnreadableFile: a file is missing or empty, an id stands twice, a judgement names an unknown id.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UnreadableFile(f"{folder}: is no folder; a BEIR folder holds corpus.jsonl, queries.jsonl and qrels.tsv")
    documents = None
    notes: list[str] = []
    if corpus := _first_of(folder / "corpus.jsonl", folder / "corpus.jsonl.gz"):
        documents = _read_corpus(corpus, _answer(on_error, notes), notes)
    queries = _first_of(folder / "queries.jsonl", folder / "queries.jsonl.gz")
    qrels = _first_of(folder / "qrels.tsv", folder / "qrels" / f"{split}.tsv", folder / "qrels" / f"{split}.tsv.gz")
    for found, expected in ((queries, "queries.jsonl"), (qrels, f"qrels.tsv or qrels/{split}.tsv")):
        if found is None:
            raise UnreadableFile(f"{folder}: has no {expected}; a BEIR folder holds corpus.jsonl, queries.jsonl, qrels")
    assert queries is not None and qrels is not None  # noqa: S101, PT018 for mypy
    return _joined(folder.resolve().name, queries, qrels, documents, notes, on_error)


def read_judgements(queries: str | Path, qrels: str | Path, *, on_error: OnError = "raise") -> JudgedCollection:
    """Queries (JSONL as BEIR's, or a TSV of id and text) and qrels (TREC's or BEIR's) for an index that is there.

    Raises:
        UnreadableFile: as `read_collection`.
    """
    return _joined(Path(qrels).stem, Path(queries), Path(qrels), None, [], on_error)


def read_queries(path: str | Path) -> dict[str, str]:
    """Query texts by id, of a JSONL as BEIR's ("_id" or "id", "text") or a TSV of id and text.

    Raises:
        UnreadableFile: a line that is none, an id that stands twice, an empty text.
    """
    return {query: text for query, (text, _) in _read_queries(path, _raise).items()}


def read_qrels(path: str | Path) -> Qrels:
    """Judgements: TREC's four columns (query, 0, document, grade) or BEIR's three with tabs between and a header.

    Raises:
        UnreadableFile: a line that is none, a pair that is judged twice.
    """
    qrels: Qrels = {}
    for query, document, grade, _ in _read_qrels(path, _raise):
        qrels.setdefault(query, {})[document] = grade
    return qrels


_OnBad: TypeAlias = Callable[[UnreadableFile], None]


def _raise(error: UnreadableFile) -> None:
    raise error


def _answer(on_error: OnError, notes: list[str]) -> _OnBad:
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    return _raise if on_error == "raise" else lambda error: notes.append(str(error))


def _joined(
    name: str,
    queries_path: Path,
    qrels_path: Path,
    documents: dict[str, Document | None] | None,
    notes: list[str],
    on_error: OnError,
) -> JudgedCollection:
    """Queries with their judgements; `documents` is None where nobody knows which there are."""
    bad = _answer(on_error, notes)
    queries = _read_queries(queries_path, bad)
    qrels: Qrels = {}
    places: dict[str, str] = {}
    for query, document, grade, line in _read_qrels(qrels_path, bad):
        if error := _unknown(query, queries, str(queries_path), "query", line) or (
            documents is not None and _unknown(document, documents, "corpus.jsonl", "document", line)
        ):
            bad(error)
        else:
            qrels.setdefault(query, {})[document] = grade
            places.setdefault(document, line.place)
    for query, (_, line) in queries.items():
        if query not in qrels:
            notes.append(str(line.error(f"query {query!r} has no judgements; it is left out")))
        elif max(qrels[query].values()) <= 0:
            notes.append(str(line.error(f"query {query!r} has no relevant document; it counts as 0 for every system")))
    if not qrels:
        raise UnreadableFile(f"{qrels_path}: judges none of the queries of {queries_path}")
    return JudgedCollection(
        name=name,
        queries={query: text for query, (text, _) in queries.items() if query in qrels},
        qrels=qrels,
        documents=tuple(document for document in (documents or {}).values() if document is not None),
        notes=tuple(notes),
        places=places,
    )


def _unknown(id: str, known: Container[str], where: str, what: str, line: Line) -> UnreadableFile | None:
    if id in known:
        return None
    return line.error(f"judges {what} {id!r}, which {where} does not have; do both belong to one collection?")


def _read_corpus(path: Path, bad: _OnBad, notes: list[str]) -> dict[str, Document | None]:
    """By id; None for a document without a text, which exists, but can be neither indexed nor found."""
    documents: dict[str, Document | None] = {}
    for line, id, record in _records(path, bad):
        text = _with_title(record)
        if not text:
            documents[id] = None
            notes.append(str(line.error(f"document {id!r} has no text; it is left out")))
            continue
        try:
            documents[id] = Document(text, id)
        except InvalidDocument as error:
            bad(line.error(str(error)))
    return documents


def _with_title(record: Mapping[str, Any]) -> str:
    """Title before text, as BEIR does, unless the text begins with it (Cranfield)."""
    title, text = str(record.get("title") or "").strip(), str(record.get("text") or "").strip()
    return text if text.startswith(title) else f"{title}. {text}".strip()


def _read_queries(path: str | Path, bad: _OnBad) -> dict[str, tuple[str, Line]]:
    queries: dict[str, tuple[str, Line]] = {}
    is_table = Path(path).name.removesuffix(".gz").endswith((".tsv", ".txt"))
    for line, id, record in _table_records(path, bad) if is_table else _records(path, bad):
        text = record.get("text")
        if not isinstance(text, str) or not text.strip():
            bad(line.error(f"query {id!r} has no text; expected a string under 'text'"))
        else:
            queries[id] = (text.strip(), line)
    return queries


def _table_records(path: str | Path, bad: _OnBad) -> Iterator[tuple[Line, str, Mapping[str, Any]]]:
    def parsed(line: Line) -> tuple[str, Mapping[str, Any]]:
        id, tab, text = line.text.partition("\t")
        if not tab:
            raise line.error("has no tab; a line of queries is an id, a tab, and the text")
        return id.strip(), {"text": text}

    return _unique(numbered_lines(path), parsed, bad)


def _records(path: str | Path, bad: _OnBad) -> Iterator[tuple[Line, str, Mapping[str, Any]]]:
    """The JSON objects of a file, each with its id."""

    def parsed(line: Line) -> tuple[str, Mapping[str, Any]]:
        try:
            record = json.loads(line.text)
        except (ValueError, RecursionError) as error:
            raise line.error(f"is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise line.error("is not a JSON object; expected one like {'_id': '…', 'text': '…'}")
        id = record.get("_id", record.get("id"))
        if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
            raise line.error(f"has no id; expected a string under '_id', got {id!r}")
        return str(id), record

    return _unique(numbered_lines(path), parsed, bad)


def _unique(
    lines: Iterable[Line], parsed: Callable[[Line], tuple[str, Mapping[str, Any]]], bad: _OnBad
) -> Iterator[tuple[Line, str, Mapping[str, Any]]]:
    first_line: dict[str, int] = {}
    for line in lines:
        try:
            id, record = parsed(line)
        except UnreadableFile as error:
            bad(error)
            continue
        if (before := first_line.setdefault(id, line.number)) != line.number:
            bad(line.error(f"the id {id!r} stands on line {before} already; every id may stand once"))
        else:
            yield line, id, record


def _read_qrels(path: str | Path, bad: _OnBad) -> Iterator[tuple[str, str, int, Line]]:
    first_line: dict[tuple[str, str], int] = {}
    for position, line in enumerate(numbered_lines(path)):
        try:
            entry = _judgement(line, may_be_header=position == 0)
        except UnreadableFile as error:
            bad(error)
            continue
        if entry is None:
            continue
        query, document, grade = entry
        if (before := first_line.setdefault((query, document), line.number)) != line.number:
            bad(line.error(f"document {document!r} is judged for query {query!r} on line {before} already; keep one"))
        else:
            yield query, document, grade, line


def _judgement(line: Line, *, may_be_header: bool) -> tuple[str, str, int] | None:
    """Query, document and grade; None for the header."""
    columns = [column.strip() for column in line.text.split("\t")] if "\t" in line.text else line.text.split()
    if len(columns) not in (3, 4):
        raise line.error(
            f"has {len(columns)} columns; expected TREC's 4 (query, 0, document, grade) or BEIR's 3 with tabs "
            f"(query, document, grade)"
        )
    query, document, grade = columns[0], columns[-2], columns[-1]
    try:
        number = float(grade)
        whole = int(number)
    except (ValueError, OverflowError):
        if may_be_header and len(columns) == 3:
            return None
        number, whole = float("nan"), 0
    if whole != number:
        raise line.error(f"the grade must be a whole number, got {grade!r}")
    return query, document, whole


def _first_of(*paths: Path) -> Path | None:
    return next((path for path in paths if path.exists()), None)
