"""Plain text for continued training: files in, texts out, checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tercet.errors import InvalidTrainingData
from tercet.training.lines import files, lines, record, refuse, wrong_text

#: What a folder is searched for; a file that is named may end in anything.
ENDINGS = (".jsonl", ".md", ".txt")


def read_texts(paths: str | Path | Sequence[str | Path]) -> list[str]:
    """Read texts: from .jsonl one {"text": …, "title": …} a line, from any other file its paragraphs.

    A paragraph ends at an empty line. The title is optional and stands before its text; other keys are left alone.

    paths: files, or folders whose files with ENDINGS are read in order of name

    Raises:
        InvalidTrainingData: names every bad line with its file and number.
    """
    named = files(paths, endings=ENDINGS)
    problems: list[str] = []
    texts: list[str] = []
    for path in named:
        texts += _records(path, problems) if path.suffix == ".jsonl" else _paragraphs(path, problems)
    refuse(problems)
    if not texts:
        raise InvalidTrainingData(f"no text in {', '.join(map(str, named))}")
    return texts


def _records(path: Path, problems: list[str]) -> Iterator[str]:
    for place, line in lines(path, problems):
        values = record(line, "text") if line else None
        if values is None:
            continue
        wrong = values if isinstance(values, str) else wrong_text(values, "text")
        if isinstance(values, str) or wrong:
            problems.append(f"{place}: {wrong}")
            continue
        title = values.get("title") or ""
        yield f"{title}. {values['text'].strip()}" if isinstance(title, str) and title.strip() else values["text"]


def _paragraphs(path: Path, problems: list[str]) -> Iterator[str]:
    paragraph: list[str] = []
    for _, line in lines(path, problems):
        if line:
            paragraph.append(line)
        elif paragraph:
            yield " ".join(paragraph)
            paragraph = []
    if paragraph:
        yield " ".join(paragraph)
