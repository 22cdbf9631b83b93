"""The page: valid, silent, escaped; and in a real browser what it should look like."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from tercet import Document, HybridIndex
from tercet.explaining.markup import Markup, element, joined
from tercet.explaining.markup import document as page
from tests.explaining.browser import photograph, share_of
from tests.toys import ToyEncoder

HOSTILE = '</style><script>alert(1)</script><img src=x onerror="alert(2)"> heart & "attack" \'kind\''


class Tags(HTMLParser):
    """Every tag with its attributes; what is left open at the end is in `open`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def html() -> str:
    index = HybridIndex.in_memory(encoder=ToyEncoder())
    index.add([Document(HOSTILE, '<b>"id"</b>'), Document("a heart", "b"), Document("vault", "c")])
    return index.explain(f"heart {HOSTILE}", '<b>"id"</b>').to_html()


def test_no_text_becomes_markup(html: str) -> None:
    parsed = Tags(html)

    assert parsed.open == []
    assert {tag for tag, _ in parsed.tags} & {"script", "img", "b", "iframe", "link"} == set()
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)


def test_the_page_loads_nothing(html: str) -> None:
    parsed = Tags(html)

    assert not any({"src", "href"} & set(attributes) for _, attributes in parsed.tags)
    assert "url(" not in html
    policies = [attributes["content"] for _, attributes in parsed.tags if "http-equiv" in attributes]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_strings_are_escaped_and_markup_is_not() -> None:
    assert element("p", "<", Markup("<br>"), None, ["&", 3], title='"') == '<p title="&quot;">&lt;<br>&amp;3</p>'
    assert joined("a", element("i")) == "a<i></i>"
    assert page("<t>", Markup(""), "x").count("&lt;t&gt;") == 1


@pytest.mark.parametrize(
    ("dark", "paper", "inks"),
    [(False, "#ffffff", ("#3b6fd4", "#c2571a", "#0f8a74")), (True, "#12161f", ("#7aa2f7", "#f0965a", "#45c4ab"))],
    ids=["light", "dark"],
)
def test_a_browser_draws_each_stage_in_its_colour(
    html: str, tmp_path: Path, dark: bool, paper: str, inks: tuple[str, ...]
) -> None:
    picture = photograph(html, tmp_path, dark=dark)

    assert share_of(paper, picture) > 0.1
    for ink in inks:  # dense, sparse, late: the bar that is made of what each gives
        assert share_of(ink, picture) > 0.0005


def test_nothing_runs_over_the_edge_of_a_narrow_window(html: str, tmp_path: Path) -> None:
    picture = photograph(html, tmp_path, width=500)

    assert share_of("#ffffff", picture[:, -15:]) == 1
