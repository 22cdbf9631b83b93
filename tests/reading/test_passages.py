from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tercet.reading import split_text
from tercet.reading.passages import count_words


def test_a_short_text_is_one_passage() -> None:
    [passage] = split_text("  One sentence.  ")

    assert (passage.text, passage.start, passage.end) == ("One sentence.", 2, 15)
    assert (passage.headings, passage.anchor) == ((), "1")


def test_white_space_alone_gives_no_passage() -> None:
    assert split_text(" \n\n ") == []


def test_passages_end_at_paragraphs_first() -> None:
    paragraphs = ["one two three. four five six", "seven eight nine ten", "eleven twelve"]

    passages = split_text("\n\n".join(paragraphs), max_words=8)

    # 7, 4 and 2 words: the first fills a passage, the others fit in one.
    assert [passage.text for passage in passages] == [paragraphs[0], "\n\n".join(paragraphs[1:])]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    passages = split_text('Keys rotate daily. "Why so often?" he asked. They may leak.', max_words=8)

    assert [passage.text for passage in passages] == [
        "Keys rotate daily.",
        '"Why so often?"',
        "he asked. They may leak.",
    ]


def test_a_passage_shares_its_length_evenly_with_the_next() -> None:
    passages = split_text(" ".join(["word"] * 110), max_words=100)

    assert [count_words(passage.text) for passage in passages] == [55, 55]


def test_an_unbroken_run_of_characters_is_cut_anyway() -> None:
    passages = split_text("x" * 100, max_words=3)  # twelve characters count as a word

    assert [len(passage.text) for passage in passages] == [36, 36, 28]


def test_chinese_counts_by_character_and_ends_at_its_full_stop() -> None:
    passages = split_text("钥匙每天轮换。它们可能泄露。", max_words=8)

    assert [passage.text for passage in passages] == ["钥匙每天轮换。", "它们可能泄露。"]


def test_an_overlap_repeats_the_last_words_of_the_predecessor() -> None:
    text = " ".join(f"w{number}" for number in range(20))

    passages = split_text(text, max_words=6, overlap_words=2)

    assert all(count_words(passage.text) <= 6 for passage in passages)
    for previous, following in itertools.pairwise(passages):
        assert previous.text.split()[-2:] == following.text.split()[:2]


@given(
    text=st.text(alphabet="ab 。.!\n\t(漢字)#-=é_", max_size=400),
    max_words=st.integers(1, 30),
    syntax=st.sampled_from(["plain", "markdown", "rst"]),
)
@settings(max_examples=150, deadline=None)
def test_passages_are_slices_in_order_within_the_limit(text: str, max_words: int, syntax: str) -> None:
    passages = split_text(text, syntax=syntax, max_words=max_words)  # type: ignore[arg-type]

    for passage in passages:
        assert passage.text == text[passage.start : passage.end]
        assert passage.text == passage.text.strip() != ""
        assert count_words(passage.text) <= max_words
    assert all(before.end <= after.start for before, after in itertools.pairwise(passages))
    assert len({passage.anchor for passage in passages}) == len(passages)


@given(text=st.text(alphabet="ab 。.!\n\t(漢字)é_", max_size=400), max_words=st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_no_word_of_a_plain_text_is_lost(text: str, max_words: int) -> None:
    kept = "".join(passage.text for passage in split_text(text, max_words=max_words))

    assert re.sub(r"\s", "", kept) == re.sub(r"\s", "", text)


def test_headings_divide_and_name_passages() -> None:
    text = "Before.\n\n# Guide\n\nIntro.\n\n## Keys\n\nRotate.\n\n## Roles\n\nAssign.\n\n# Other\n\nEnd.\n"

    passages = split_text(text, syntax="markdown")

    assert [(passage.headings, passage.text, passage.anchor) for passage in passages] == [
        ((), "Before.", "1"),
        (("Guide",), "Intro.", "guide/1"),
        (("Guide", "Keys"), "Rotate.", "keys/1"),
        (("Guide", "Roles"), "Assign.", "roles/1"),
        (("Other",), "End.", "other/1"),
    ]


def test_anchors_stay_when_another_section_changes() -> None:
    before = "# A\n\none\n\n# B\n\ntwo\n"
    after = "# A\n\n" + "one more. " * 300 + "\n\n# New\n\nx\n\n# B\n\ntwo\n"

    anchor_of_two = [
        next(passage.anchor for passage in split_text(text, syntax="markdown") if passage.text == "two")
        for text in (before, after)
    ]

    assert anchor_of_two == ["b/1", "b/1"]


def test_repeated_headings_get_numbers_that_meet_no_other_heading() -> None:
    text = "# Example\n\na\n\n# Example 1\n\nb\n\n# Example\n\nc\n\n# ???\n\nd\n"

    assert [passage.anchor for passage in split_text(text, syntax="markdown")] == [
        "example/1",
        "example-1/1",
        "example-2/1",
        "section/1",
    ]


def test_a_heading_with_nothing_below_it_is_found_by_its_own_words() -> None:
    passages = split_text("# Guide\n\n## Deprecated\n\n## Keys\n\nRotate.\n", syntax="markdown")

    assert [(passage.text, passage.headings) for passage in passages] == [
        ("## Deprecated", ("Guide", "Deprecated")),
        ("Rotate.", ("Guide", "Keys")),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_words": 0}, "max_words must be at least 1, got 0"),
        ({"max_words": 5, "overlap_words": 5}, "from 0 to max_words - 1 = 4, got 5"),
        ({"syntax": "latex"}, "got 'latex'"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_text("text", **options)  # type: ignore[arg-type]
