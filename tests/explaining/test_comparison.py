import json

import pytest

from tercet import Document, HybridIndex
from tests.toys import ToyEncoder


@pytest.fixture
def index() -> HybridIndex:
    index = HybridIndex.in_memory(encoder=ToyEncoder())
    index.add([Document("heart attack protocol", "a"), Document("heart of a dog", "b"), Document("vault", "c")])
    return index


def test_the_differences_of_all_stages_sum_to_that_of_the_scores(index: HybridIndex) -> None:
    comparison = index.compare("heart attack", "a", "b")

    assert comparison.difference > 0
    assert sum(each.difference for each in comparison.stages) == pytest.approx(comparison.difference)
    terms = {each.term: each.difference for each in comparison.terms}
    assert terms["heart"] == pytest.approx(0)
    assert terms["attack"] == pytest.approx(1)
    assert [each.query.text for each in comparison.matches] == ["heart", "attack"]
    assert comparison.summary.startswith("a is ")
    assert index.compare("heart attack", "b", "a").summary == comparison.summary


def test_a_document_compared_with_itself_differs_in_nothing(index: HybridIndex) -> None:
    comparison = index.compare("heart", "a", "a")

    assert comparison.summary == "a and a have the same score"
    assert not any(each.difference for each in (*comparison.stages, *comparison.terms, *comparison.matches))


def test_all_three_are_json_and_text(index: HybridIndex) -> None:
    for thing in (index.compare("heart", "a", "b"), index.why_not("heart", "c", k=1), index.explain("heart", "a")):
        assert json.loads(json.dumps(thing.to_dict()))
        assert "heart" in str(thing)
    asked = index.explain("heart", "a").to_dict()
    assert asked["terms"][0]["document_origin"]["text"] == "heart"
    assert asked["sentences"][0]["text"] == "heart attack protocol"
    assert "sentences" not in index.explain("heart", "a").to_dict(ask_model=False)


def test_a_terminal_is_not_moved_by_what_documents_say(index: HybridIndex) -> None:
    index.add([Document("\x1b[31mheart [bold]attack", "evil\x1b[2J")])

    for thing in (index.explain("heart", "evil\x1b[2J"), index.compare("heart", "evil\x1b[2J", "a")):
        assert "\x1b" not in str(thing)
    assert "[bold]attack" in str(index.explain("heart", "evil\x1b[2J"))
