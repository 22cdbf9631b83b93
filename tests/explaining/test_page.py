"""The page: valid, silent, escaped; and in a real browser what it should look like."""

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tercet import Document, HybridIndex
from tercet.explaining.markup import Markup, element, joined
from tercet.explaining.markup import document as page
from tests.toys import ToyEncoder

HOSTILE = '</style><script>alert(1)</script><img src=x onerror="alert(2)"> heart & "attack" \'kind\''
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


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


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_it_in_light_and_dark(html: str, tmp_path: Path, scheme: str) -> None:
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", *dark]
    picture = tmp_path / "page.png"
    subprocess.run(
        [str(BROWSER), *options, "--window-size=300,60", f"--screenshot={picture}", (tmp_path / "page.html").as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )

    corner = _first_pixel(picture.read_bytes())
    assert (sum(corner) > 600) == (scheme == "light")


def _first_pixel(png: bytes) -> tuple[int, ...]:
    """The upper left one of a PNG: the first row's first sample is stored as it is under every filter."""
    import zlib

    data, position = b"", 8
    while position < len(png):
        length = int.from_bytes(png[position : position + 4])
        if png[position + 4 : position + 8] == b"IDAT":
            data += png[position + 8 : position + 8 + length]
        position += 12 + length
    return tuple(zlib.decompress(data)[1:4])
