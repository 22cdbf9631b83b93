"""A text in, its passages out: cut at headings, then at paragraphs and sentences, each as long as a model reads."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tercet.reading.outline import Outline, Syntax, read_outline

#: The shipped model reads 256 word pieces. Of 633 passages of Markdown and rst documentation, 2 were longer than that.
DEFAULT_MAX_WORDS = 160


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a text, with the place where it stands.

    text: source[start:end], without the headings above it
    headings: the titles above it, outermost first
    anchor: unique within the text: heading and number, "rotate-keys/1", or the number alone where no heading stands
        above it. Stays the same while other sections change.
    """

    text: str
    start: int
    end: int
    headings: tuple[str, ...]
    anchor: str


def split_text(
    text: str, *, syntax: Syntax = "plain", max_words: int = DEFAULT_MAX_WORDS, overlap_words: int = 0
) -> list[Passage]:
    """Cut a text into passages of at most `max_words`, none across a heading, at the best border there is.

    Borders, best first: paragraph, sentence, line, word. Passages of one section are about equally long. A word is a
    run of up to twelve letters and digits, a Chinese, Japanese or Korean character, or one punctuation mark: close to
    what a word-piece tokenizer makes of it.

    With syntax="html", offsets refer to the extracted text. With `overlap_words`, a passage begins with that many of
    its predecessor's last words, within `max_words`.

    Raises:
        ValueError: max_words below 1, overlap_words not below max_words, an unknown syntax.
    """
    return split_outline(read_outline(text, syntax), max_words=max_words, overlap_words=overlap_words)


def split_outline(outline: Outline, *, max_words: int, overlap_words: int = 0) -> list[Passage]:
    """As `split_text`, for a text whose headings are known."""
    check_lengths(max_words, overlap_words)
    passages = []
    repeats: dict[str, int] = {}
    for section in _sections(outline):
        prefix = f"{_slug(section.headings[-1], repeats)}/" if section.headings else ""
        spans = _cut(outline.text, section.start, section.end, max_words, overlap_words)
        for number, (start, end) in enumerate(spans, start=1):
            anchor = f"{prefix}{number}"
            passages.append(Passage(outline.text[start:end], start, end, section.headings, anchor))
    return passages


def check_lengths(max_words: int, overlap_words: int) -> None:
    """Refuse lengths that no passage can have, with `ValueError`."""
    if max_words < 1:
        raise ValueError(f"max_words must be at least 1, got {max_words}")
    if not 0 <= overlap_words < max_words:
        raise ValueError(f"overlap_words must be from 0 to max_words - 1 = {max_words - 1}, got {overlap_words}")


@dataclass(frozen=True, slots=True)
class _Section:
    headings: tuple[str, ...]
    start: int
    end: int


def _sections(outline: Outline) -> Iterator[_Section]:
    text, headings = outline.text, outline.headings
    first = headings[0].start if headings else len(text)
    if text[outline.start : first].strip():
        yield _Section((), outline.start, first)
    path: list[tuple[int, str]] = []
    for position, heading in enumerate(headings):
        following = headings[position + 1] if position + 1 < len(headings) else None
        end = following.start if following else len(text)
        path = [(level, title) for level, title in path if level < heading.level]
        path.append((heading.level, heading.title))
        titles = tuple(title for _, title in path)
        if text[heading.end : end].strip():
            yield _Section(titles, heading.end, end)
        elif following is None or following.level <= heading.level:
            # Nothing stands below this heading: its own words are all there is to find.
            yield _Section(titles, heading.start, heading.end)


_WORD = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\W_]{1,12}|_|[^\w\s]")
_BORDERS = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+|(?<=[。！？])"),
    re.compile(r"\n"),
    re.compile(r"\s+"),
)


def count_words(text: str) -> int:
    """Words as `split_text` counts them."""
    return sum(1 for _ in _WORD.finditer(text))


def _cut(text: str, start: int, end: int, max_words: int, overlap_words: int) -> Iterator[tuple[int, int]]:
    limit = max_words - overlap_words
    pieces = list(_pieces(text, start, end, limit))
    for number, (first, last) in enumerate(_pack(pieces, limit)):
        span_start, span_end = pieces[first][0], pieces[last][1]
        if overlap_words and number:
            before = [match.start() for match in _WORD.finditer(text, start, span_start)]
            span_start = before[-overlap_words:][0]
        yield _stripped(text, span_start, span_end)


def _pieces(text: str, start: int, end: int, limit: int, level: int = 0) -> Iterator[tuple[int, int, int]]:
    """(start, end, words) of the largest units that fit, in order and without a gap."""
    words = count_words(text[start:end])
    if words <= limit:
        if text[start:end].strip():
            yield start, end, words
        return
    if level == len(_BORDERS):  # one unbroken run of characters
        cuts = [match.start() for match in _WORD.finditer(text, start, end)][limit::limit]
    else:
        cuts = [match.end() for match in _BORDERS[level].finditer(text, start, end)]
    bounds = [start, *(cut for cut in cuts if start < cut < end), end]
    for piece_start, piece_end in itertools.pairwise(bounds):
        yield from _pieces(text, piece_start, piece_end, limit, min(level + 1, len(_BORDERS)))


def _pack(pieces: Sequence[tuple[int, int, int]], limit: int) -> Iterator[tuple[int, int]]:
    """Join neighbours up to the limit, as (first, last) positions. Evenly, so that no short tail is left over."""
    remaining = sum(words for _, _, words in pieces)
    first, held = 0, 0
    target = _even_share(remaining, limit)
    for position, (_, _, words) in enumerate(pieces):
        if position > first and (held + words > limit or held + words / 2 > target):
            yield first, position - 1
            remaining -= held
            first, held = position, 0
            target = _even_share(remaining, limit)
        held += words
    if pieces:
        yield first, len(pieces) - 1


def _even_share(words: int, limit: int) -> float:
    return words / max(1, math.ceil(words / limit))


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    inner = text[start:end]
    return start + len(inner) - len(inner.lstrip()), start + len(inner.rstrip())


def _slug(title: str, repeats: dict[str, int]) -> str:
    """A heading as the end of a link, as GitHub makes it: the second "Example" of a text is "example-1"."""
    slug = unique = re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower())).strip("-") or "section"
    while unique in repeats:
        repeats[slug] += 1
        unique = f"{slug}-{repeats[slug]}"
    repeats[unique] = 0
    return unique
