"""Text in, HTML out in which no text can be markup: every string is escaped unless this module made it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

VOID = frozenset({"meta", "br", "col"})


class Markup(str):
    """HTML that is safe as it stands: made by `element`, or written in the source."""

    __slots__ = ()


Child: TypeAlias = "str | float | Iterable[Child] | None"


def element(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """`<name attribute="…">children</name>`; a trailing underscore falls off a name like class_, None leaves it out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """All children one after the other, escaped where they are plain text."""
    return Markup("".join(_written(child) for child in children))


def document(title: str, styles: Markup, *body: Child, lang: str = "en") -> str:
    """A whole page in one file. Its policy forbids scripts and every request, whatever its text says."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", styles),
    )
    return "<!doctype html>\n" + element("html", head, element("body", *body), lang=lang) + "\n"


def _written(child: Child) -> str:
    match child:
        case None:
            return ""
        case Markup():
            return child
        case str():
            return escape(child)
        case int() | float():
            return escape(str(child))
        case _:
            return "".join(_written(each) for each in child)
