from __future__ import annotations

import pytest

from tercet.reading.outline import Syntax, read_outline


def titles(source: str, syntax: Syntax) -> list[tuple[int, str]]:
    return [(heading.level, heading.title) for heading in read_outline(source, syntax).headings]


def test_markdown_has_two_kinds_of_headings() -> None:
    assert titles("# One #\n\nTwo\n===\n\nThree\n---\n\n#### Four\n", "markdown") == [
        (1, "One"),
        (1, "Two"),
        (2, "Three"),
        (4, "Four"),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "```sh\n# a comment\n```\n",
        "~~~\n# a comment\n~~~\n",
        "    # indented code\n",
        "<!--\n# hidden\n-->\n",
        "- # within a list\n",
        "> # within a quotation\n",
        "#hashtag\n",
    ],
)
def test_what_only_looks_like_a_markdown_heading_is_none(source: str) -> None:
    assert titles(source, "markdown") == []


def test_a_markdown_heading_is_plain_words() -> None:
    assert titles("# **Keys** and [`roles`](r.md) <b>now</b>\n", "markdown") == [(1, "Keys and roles now")]


def test_front_matter_gives_the_title_and_is_no_prose() -> None:
    source = '---\ntitle: "The guide"\ntags: [a]\n---\n\n# Start\n\nHello.\n'

    outline = read_outline(source, "markdown")

    assert (outline.title, source[outline.start :]) == ("The guide", "\n# Start\n\nHello.\n")
    assert [source[heading.start : heading.end] for heading in outline.headings] == ["# Start\n"]


def test_windows_line_ends_do_not_move_headings() -> None:
    source = "# One\r\n\r\ntext\r\n\r\nTwo\r\n---\r\nmore\r\n"

    spans = [source[heading.start : heading.end] for heading in read_outline(source, "markdown").headings]

    assert spans == ["# One\r\n", "Two\r\n---\r\n"]


def test_rst_levels_follow_the_order_of_their_adornments() -> None:
    source = "=====\nGuide\n=====\n\nKeys\n----\n\nRotation\n~~~~~~~~\n\nRoles\n-----\n"

    assert titles(source, "rst") == [(1, "Guide"), (2, "Keys"), (3, "Rotation"), (2, "Roles")]


@pytest.mark.parametrize(
    "source",
    [
        "text\n\n----\n\nmore\n",  # a transition
        "Too short\n---\n",
        "code::\n\n    Title\n    =====\n",
        "a paragraph's\nlast line\n---------\n",
        "====  ====\na     b\n====  ====\n",  # a table
    ],
)
def test_what_only_looks_like_an_rst_heading_is_none(source: str) -> None:
    assert titles(source, "rst") == []


def test_html_is_read_as_a_browser_shows_it() -> None:
    source = (
        "<title> The\n guide</title><nav>Menu</nav><h1>Keys <b>and</b> roles</h1>"
        "<p>Rotate  them<br>daily &amp; \n safely.</p><script>x = 1</script>"
        "<ul><li>one</li><li>two</li></ul><pre>a\n  b</pre><style>p {}</style><!-- no -->"
        "<table><tr><td>1</td><td>2</td></tr></table>"
    )

    outline = read_outline(source, "html")

    assert outline.text == "Keys and roles\n\nRotate them\ndaily & safely.\n\none\ntwo\n\na\n  b\n\n1 2"
    assert outline.title == "The guide"
    [heading] = outline.headings
    assert (heading.level, heading.title) == (1, "Keys and roles")
    assert outline.text[heading.start : heading.end] == "Keys and roles"


def test_html_headings_are_found_where_their_words_are() -> None:
    outline = read_outline("<p>a<h2> Two </h2>text<h3>Three</h3><h4></h4>", "html")

    assert [outline.text[heading.start : heading.end] for heading in outline.headings] == ["Two", "Three"]


def test_html_may_nest_deeper_than_python_recurses() -> None:
    assert read_outline("<div>" * 5000 + "deep", "html").text == "deep"
