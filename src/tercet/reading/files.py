"""Paths in, documents out, one at a time: what is too big for memory can still be indexed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tercet.errors import InvalidDocument, UnreadableFile
from tercet.reading.outline import Outline, Syntax, read_outline
from tercet.reading.passages import DEFAULT_MAX_WORDS, check_lengths, split_outline
from tercet.reading.records import Line, not_utf8, read_csv, read_jsonl
from tercet.types import Document

_PROSE: Mapping[str, Syntax] = MappingProxyType(
    {
        ".md": "markdown",
        ".markdown": "markdown",
        ".txt": "plain",
        ".rst": "rst",
        ".html": "html",
        ".htm": "html",
    }
)
_RECORDS = MappingProxyType({".jsonl": read_jsonl, ".csv": read_csv, ".tsv": read_csv})

#: The path that stands for JSONL on standard input.
STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Skip:
    """Something that gave no document.

    source: the file or folder
    reason: why
    is_problem: it was meant to be read and could not be; otherwise it was passed over as hidden, binary or of
        another kind
    """

    source: str
    reason: str
    is_problem: bool

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


def read_documents(
    paths: str | Path | Iterable[str | Path],
    *,
    max_words: int = DEFAULT_MAX_WORDS,
    overlap_words: int = 0,
    text_column: str | None = None,
    name_source: Callable[[Path], str] = Path.as_posix,
    on_skip: Callable[[Skip], None] | None = None,
    on_prose: Callable[[str], None] | None = None,
) -> Iterator[Document]:
    """Read files and folders, lazily, in a stable order.

    A folder is read with all below it: .md .txt .rst .html .jsonl .csv, not what is hidden, binary or of another kind.
    A file that is named itself is read whatever its ending (as plain text), "-" is JSONL on standard input.

    Prose is cut into passages (see `split_text`). A passage's text is its headings on one line, then its words. Its
    metadata are `source`, `title`, `headings`, `start` and `end`: its words are
    `Path(source).read_text("utf-8-sig")[start:end]`, while for HTML the offsets refer to the extracted text. Its id is
    `source#heading/number`, so a change in one section leaves the others as they are.

    A record of JSONL or CSV is one document, however long. Its text stands under text, contents, content,
    page_content, passage, body or `text_column`, its id under id, _id, docid or doc_id; a title is put before the text;
    all else is metadata, in CSV as strings. A record without an id gets one from its content.

    name_source: makes a file's `source`, which is the path as given. Files of one name are one file to an index
    on_skip: hears of everything that gives no document, once a file, and reading goes on. Without it, what cannot be
        read raises, and what is passed over is passed over silently.
    on_prose: hears the `source` of each file of prose when all its passages, perhaps none, have been given

    Raises:
        UnreadableFile: no such path; without on_skip also a file that is no UTF-8 text, or a bad line, as file:line.
        ValueError: lengths that no passage can have.
    """
    check_lengths(max_words, overlap_words)
    named = [paths] if isinstance(paths, str | Path) else list(paths)
    for path in named:
        if str(path) != STANDARD_INPUT and not os.path.lexists(path):
            raise UnreadableFile(f"{_printable(path)}: there is no such file or folder")
    reader = _Reader(max_words, overlap_words, text_column, name_source, on_skip, on_prose)
    return (document for path in named for document in reader.read(path))


@dataclass(frozen=True, slots=True)
class _Reader:
    max_words: int
    overlap_words: int
    text_column: str | None
    name_source: Callable[[Path], str]
    on_skip: Callable[[Skip], None] | None
    on_prose: Callable[[str], None] | None

    def read(self, path: str | Path) -> Iterator[Document]:
        files = self._below(Path(path)) if os.path.isdir(path) else [path]
        for file in files:
            try:
                yield from self._documents(file)
            except (UnreadableFile, InvalidDocument) as error:
                self._problem(file, error)
            except OSError as error:
                self._problem(file, UnreadableFile(f"{_printable(file)}: {error.strerror or error}"))

    def _documents(self, file: str | Path) -> Iterator[Document]:
        if str(file) == STANDARD_INPUT:
            lines = read_jsonl(sys.stdin.buffer, STANDARD_INPUT, source=STANDARD_INPUT, text_column=self.text_column)
            yield from self._records(STANDARD_INPUT, lines)
            return
        shown, source = _printable(file), self.name_source(Path(file))
        suffix = Path(file).suffix.lower()
        if suffix in _RECORDS:
            with open(file, "rb") as data:
                yield from self._records(
                    shown, _RECORDS[suffix](data, shown, source=source, text_column=self.text_column)
                )
        else:
            outline = read_outline(_read_text(file), _PROSE.get(suffix, "plain"))
            yield from self._passages(source, outline)
            if self.on_prose is not None:
                self.on_prose(source)

    def _passages(self, source: str, outline: Outline) -> Iterator[Document]:
        for passage in split_outline(outline, max_words=self.max_words, overlap_words=self.overlap_words):
            # The words above a passage say what it is about, often in the very words of the question.
            above = passage.headings or ((outline.title,) if outline.title else ())
            metadata = {
                "source": source,
                "headings": list(passage.headings),
                "start": passage.start,
                "end": passage.end,
            }
            if outline.title:
                metadata["title"] = outline.title
            text = f"{' > '.join(above)}\n{passage.text}" if above else passage.text
            yield Document(text, id=f"{source}#{passage.anchor}", metadata=metadata)

    def _records(self, shown: str, lines: Iterator[Line]) -> Iterator[Document]:
        bad = 0
        first = ""
        for number, line in lines:
            if isinstance(line, Document):
                yield line
            elif self.on_skip is None:
                raise UnreadableFile(f"{shown}:{number}: {line}") from line
            else:
                bad += 1
                first = first or f"line {number}: {line}"
        if bad and self.on_skip is not None:
            self.on_skip(Skip(shown, f"1 bad line, {first}" if bad == 1 else f"{bad:,} bad lines, first {first}", True))

    def _below(self, folder: Path) -> Iterator[Path]:
        def unreadable(error: OSError) -> None:
            self._problem(error.filename, UnreadableFile(f"{_printable(error.filename)}: {error.strerror}"))

        for parent, folders, files in os.walk(folder, onerror=unreadable):
            for name in sorted(folders):
                if name.startswith("."):
                    self._pass_over(Path(parent, name), "hidden")
                elif os.path.islink(os.path.join(parent, name)):
                    self._pass_over(Path(parent, name), "a link to a folder")
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                path = Path(parent, name)
                suffix = path.suffix.lower()
                if name.startswith("."):
                    self._pass_over(path, "hidden")
                elif suffix not in _PROSE and suffix not in _RECORDS:
                    self._pass_over(path, f"not of a kind that is read ({suffix or 'no ending'})")
                elif not path.is_file():
                    self._pass_over(path, "not a regular file")
                elif _is_binary(path):
                    self._pass_over(path, "binary")
                else:
                    yield path

    def _pass_over(self, path: Path, reason: str) -> None:
        if self.on_skip is not None:
            self.on_skip(Skip(_printable(path), reason, is_problem=False))

    def _problem(self, path: str | Path, error: ValueError) -> None:
        source = _printable(path)
        if self.on_skip is None:
            raise error
        # The message names file:line for those who read it alone; here the file stands beside it.
        reason = re.sub(r"^:(\d+): ", r"line \1: ", str(error).removeprefix(source)).removeprefix(": ")
        self.on_skip(Skip(source, reason, is_problem=True))


_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def _is_binary(path: Path) -> bool:
    """A NUL among the first 8 KiB, as git decides it. UTF-16 is text of a wrong kind, and worth an error."""
    try:
        with open(path, "rb") as file:
            beginning = file.read(8192)
    except OSError:
        return False  # reading it will say why
    return b"\0" in beginning and not beginning.startswith(_UTF16_MARKS)


def _read_text(path: str | Path) -> str:
    """Decoded as `Path.read_text("utf-8-sig")` does it: no byte order mark, every line end a newline."""
    data = Path(path).read_bytes()
    if b"\0" in data[:8192] and not data.startswith(_UTF16_MARKS):
        raise UnreadableFile(f"{_printable(path)}: is binary, expected text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        position = data.index(error.object) + error.start
        raise UnreadableFile(f"{_printable(path)}: {not_utf8(data, position)}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _printable(path: str | Path) -> str:
    """File names need not be Unicode; messages must."""
    return Path(path).as_posix().encode("utf-8", "backslashreplace").decode()
