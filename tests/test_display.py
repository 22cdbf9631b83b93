from __future__ import annotations

import io

import pytest
from rich.console import Console

from tercet.display import plain, show_hits, show_mapping, snippet
from tercet.types import Document, Hit, StageScore


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=100)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("two\n\n  lines", "two lines"),
        ("one two three", "one two …"),
        ("unbroken_word", "unbroken …"),
    ],
)
def test_a_snippet_is_one_line_that_ends_at_a_word(text: str, expected: str) -> None:
    assert snippet(text, length=9 if "\n" in text else 8) == expected


def test_text_that_would_act_on_the_terminal_is_made_visible() -> None:
    assert plain("a\x1b[31mb\x07\x9bc\n\td").plain == "a�[31mb��c\n\td"


def test_no_hits_are_said_and_not_left_blank(console: Console) -> None:
    show_hits(console, [])

    assert written(console) == "nothing found\n"


def test_the_headings_of_a_passage_stand_on_their_own_line(console: Console) -> None:
    document = Document("Guide > Keys\nRotate them.", id="a", metadata={"headings": ["Guide", "Keys"]})

    show_hits(console, [Hit(document, 0.5, (StageScore("dense", 1, 0.9),))])

    assert [line.strip() for line in written(console).splitlines()][:4] == [
        "1. a  0.5000",
        "Guide > Keys",
        "Rotate them.",
        "dense #1",
    ]


def test_numbers_of_a_mapping_are_grouped_in_thousands(console: Console) -> None:
    show_mapping(console, {"documents": 12345, "exact": True})

    assert written(console).split() == ["documents", "12,345", "exact", "True"]
