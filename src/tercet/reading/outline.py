"""Text in some syntax in, its outline out: where the headings are, which names the passages between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from markdown_it import MarkdownIt
from selectolax.lexbor import LexborHTMLParser, LexborNode

Syntax: TypeAlias = Literal["plain", "markdown", "rst", "html"]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: level from 1, its words, and the span text[start:end] of its own lines."""

    level: int
    title: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Outline:
    """A text and its headings in order.

    text: what offsets refer to; the source itself, but for HTML the text that was extracted from it
    title: of the whole, where the source names one
    start: where the prose begins, after front matter
    """

    text: str
    headings: tuple[Heading, ...] = ()
    title: str | None = None
    start: int = 0


def read_outline(source: str, syntax: Syntax) -> Outline:
    """Find the headings of a source text.

    Raises:
        ValueError: an unknown syntax.
    """
    if syntax not in _READERS:
        raise ValueError(f"syntax must be one of {', '.join(_READERS)}, got {syntax!r}")
    return _READERS[syntax](source)


# --- Markdown ---------------------------------------------------------------------------------------------------------

#: Block structure is enough to find headings; without the inline rule this reads about 4 MB a second.
_BLOCKS = MarkdownIt("commonmark").disable("inline")
_INLINE = MarkdownIt("commonmark")

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
_FRONT_TITLE = re.compile(r"^title:[ \t]*(['\"]?)(?P<title>.+?)\1[ \t]*$", re.MULTILINE)


def _markdown(source: str) -> Outline:
    front = _FRONT_MATTER.match(source)
    # CommonMark would read the closing fence of front matter as the underline of a heading.
    body = source if front is None else re.sub(r"[^\n]", " ", front[0]) + source[front.end() :]
    line_starts = _line_starts(body)
    headings = []
    tokens = _BLOCKS.parse(body)
    for position, token in enumerate(tokens):
        # Level 0: a heading inside a list or a quotation belongs to it, and divides nothing.
        if token.type == "heading_open" and token.level == 0 and token.map:
            words = _words_of(tokens[position + 1].content)
            if words:
                first, last = token.map
                headings.append(Heading(int(token.tag[1:]), words, line_starts[first], line_starts[last]))
    named = front and _FRONT_TITLE.search(front[0])
    title = named["title"] if named else next((heading.title for heading in headings if heading.level == 1), None)
    return Outline(source, tuple(headings), title, front.end() if front else 0)


def _words_of(inline: str) -> str:
    """Inline Markdown as plain words: `**Keys** and [roles](r.md)` → `Keys and roles`."""
    words = []
    for token in _INLINE.parseInline(inline)[0].children or []:
        if token.type != "html_inline":
            words.append(" " if token.type in ("softbreak", "hardbreak") else token.content)
    return " ".join("".join(words).split())


# --- reStructuredText -------------------------------------------------------------------------------------------------

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1+[ \t]*")


def _rst(source: str) -> Outline:
    lines = _NEWLINE.split(source)
    line_starts = _line_starts(source)
    headings = []
    styles: list[tuple[str, bool]] = []  # levels are given by the order in which adornments first appear
    number = 0
    while number < len(lines) - 1:
        overlined = _is_adornment(lines[number]) and number + 2 < len(lines)
        first = number
        text = lines[number + overlined]
        under = lines[number + overlined + 1]
        fits = _is_adornment(under) and len(under.rstrip()) >= len(text.strip()) > 0
        if overlined:
            stands = lines[number].rstrip() == under.rstrip()
        else:
            # An indented line stands in a literal block, and a line after a paragraph's line is no title.
            stands = not text[:1].isspace() and (number == 0 or not lines[number - 1].strip())
        if not (fits and stands) or _is_adornment(text):
            number += 1
            continue
        style = (under[0], overlined)
        if style not in styles:
            styles.append(style)
        number += overlined + 2
        headings.append(Heading(styles.index(style) + 1, text.strip(), line_starts[first], line_starts[number]))
    return Outline(source, tuple(headings), next((heading.title for heading in headings if heading.level == 1), None))


def _is_adornment(line: str) -> bool:
    return _ADORNMENT.fullmatch(line) is not None


# --- HTML -------------------------------------------------------------------------------------------------------------

_DROPPED = frozenset({"script", "style", "noscript", "template", "nav", "svg", "iframe", "head", "-comment"})
_BLOCK_BREAKS = MappingProxyType(
    dict.fromkeys(
        "address article aside blockquote dd details dialog div dl dt fieldset figcaption figure footer form header "
        "h1 h2 h3 h4 h5 h6 hr main ol p pre section summary table ul".split(),
        "\n\n",
    )
    | dict.fromkeys(["br", "caption", "li", "option", "tr"], "\n")
    | dict.fromkeys(["td", "th"], " ")
)
_HEADING_TAGS = MappingProxyType({f"h{level}": level for level in range(1, 7)})


def _html(source: str) -> Outline:
    tree = LexborHTMLParser(source)
    title_node = tree.css_first("head title")
    title = " ".join(title_node.text().split()) if title_node else ""
    extract = _Extract()
    if tree.body is not None:
        _walk(tree.body, extract)
    return Outline("".join(extract.parts), tuple(extract.headings), title or None)


def _walk(body: LexborNode, extract: _Extract) -> None:
    # A stack and not recursion: broken pages nest thousands deep.
    stack: list[tuple[LexborNode, bool]] = [(body, False)]
    preformatted = 0
    heading_start: tuple[int, int] | None = None
    while stack:
        node, leaving = stack.pop()
        tag = node.tag or ""
        if tag == "-text":
            extract.write(node.text(deep=False), keep_spaces=preformatted > 0)
            continue
        if tag in _DROPPED:
            continue
        preformatted += (tag == "pre") * (-1 if leaving else 1)
        if leaving and tag in _HEADING_TAGS and heading_start is not None:
            extract.end_heading(_HEADING_TAGS[tag], heading_start)
            heading_start = None
        extract.break_with(_BLOCK_BREAKS.get(tag, ""))
        if leaving:
            continue
        if tag in _HEADING_TAGS:
            heading_start = extract.next_start()
        stack.append((node, True))
        stack.extend((child, False) for child in reversed(list(node.iter(include_text=True))))


class _Extract:
    """The words of a page as they are found, white space as a browser would show it."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.headings: list[Heading] = []
        self._length = 0
        self._break = ""  # white space that is owed before the next word

    def write(self, text: str, *, keep_spaces: bool) -> None:
        if not text.strip():
            self.break_with(" " if text else "")
            return
        if not keep_spaces:
            self.break_with(" " if text[0].isspace() else "")
            owed_after = " " if text[-1].isspace() else ""
            text = " ".join(text.split())
        else:
            owed_after = ""
        self._append(self._break if self.parts else "")
        self._append(text)
        self._break = owed_after

    def break_with(self, space: str) -> None:
        """The strongest break between two words wins: paragraph, line, space."""
        strength = ("", " ", "\n", "\n\n")
        self._break = max(self._break, space, key=strength.index)

    def next_start(self) -> tuple[int, int]:
        """The offset of the next word that is written, and the position of the part that holds it."""
        return self._length + (len(self._break) if self.parts else 0), len(self.parts)

    def end_heading(self, level: int, begun: tuple[int, int]) -> None:
        start, first_part = begun
        title = " ".join("".join(self.parts[first_part:]).split())
        if title:
            self.headings.append(Heading(level, title, start, self._length))

    def _append(self, text: str) -> None:
        self.parts.append(text)
        self._length += len(text)


# ----------------------------------------------------------------------------------------------------------------------


def _plain(source: str) -> Outline:
    return Outline(source)


_NEWLINE = re.compile(r"\r\n?|\n")


def _line_starts(text: str) -> list[int]:
    """The offset of every line's first character, and the end of the text."""
    return [0, *(match.end() for match in _NEWLINE.finditer(text)), len(text)]


_READERS: Mapping[str, Callable[[str], Outline]] = MappingProxyType(
    {"plain": _plain, "markdown": _markdown, "rst": _rst, "html": _html}
)
