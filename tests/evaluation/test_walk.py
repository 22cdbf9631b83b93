from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tercet import Document, HybridIndex, SearchPlan
from tercet.encoders.mini import MiniEncoder
from tercet.errors import MissingExtra
from tercet.evaluation import JudgedCollection, evaluate
from tercet.evaluation.bm25 import bm25_run
from tercet.evaluation.walk import walk
from tercet.explaining.teaching import teaching_page
from tests.toys import ToyEncoder

DOCUMENTS = (
    Document("Rotate the signing keys of the vault every month.", "vault", {"kind": "note"}),
    Document("A grand piano has eighty-eight keys.", "piano", {"kind": "tale"}),
    Document("The cat sat on the mat.", "cat", {"kind": "tale"}),
)
QUERY = "key rotation"


@pytest.fixture(scope="module")
def index() -> HybridIndex:
    index = HybridIndex.in_memory(encoder=MiniEncoder(threads=1))
    index.add(DOCUMENTS)
    return index


def test_each_column_is_what_its_retriever_returns(index: HybridIndex) -> None:
    rankings = walk(index, QUERY).rankings

    searches = {"dense": ("dense",), "sparse (SPLADE)": ("sparse",), "hybrid (tercet)": ("dense", "sparse", "late")}
    expected = {
        name: [hit.id for hit in index.search(QUERY, plan=SearchPlan(stages=stages))]
        for name, stages in searches.items()
    }
    assert rankings == {"BM25": [scored.id for scored in bm25_run(DOCUMENTS, {"q": QUERY})["q"]], **expected}


def test_without_judgements_a_page_shows_no_figures_and_no_grades(index: HybridIndex) -> None:
    walked = walk(index, QUERY)

    page = teaching_page(walked)
    assert (walked.measured, walked.grades) == ({}, {})
    assert "One query is an example and no measurement.<" in page
    assert "judgements" not in page
    assert "another query" not in page
    assert "key of a piano" in teaching_page(walk(index, QUERY, contrast="key of a piano"))


def test_the_figures_are_those_of_an_evaluation(index: HybridIndex) -> None:
    judged = JudgedCollection(
        "own", {"q": QUERY, "p": "eighty-eight"}, {"q": {"piano": 1}, "p": {"piano": 2}}, DOCUMENTS
    )

    walked = walk(index, QUERY, judged=judged)

    evaluation = evaluate(index, judged, measures=["nDCG@10"], timed_queries=0)
    hidden = [word for text in judged.queries.values() for word in index.encoder.masked_word_predictions(text)]
    assert walked.guessed == (
        sum(word.guesses[0][0] == word.word for word in hidden),
        sum(word.probability is not None for word in hidden),
    )
    assert walked.grades == {"piano": 1}
    assert walked.measured["BM25"] == pytest.approx(evaluation["BM25"].scores.mean["nDCG@10"])
    assert walked.measured["dense"] == pytest.approx(evaluation["dense"].scores.mean["nDCG@10"])
    assert walked.measured["hybrid (tercet)"] == pytest.approx(evaluation["final"].scores.mean["nDCG@10"])


def test_another_model_may_guess_the_hidden_words(index: HybridIndex, tiny_checkpoint: Path) -> None:
    guesser = MiniEncoder(tiny_checkpoint)
    page = teaching_page(walk(index, QUERY, guesser=guesser))

    assert f"Here {guesser.spec.name} guesses." in page
    assert "as this one was" not in page
    for word in guesser.masked_word_predictions(QUERY):
        for term, share in word.guesses:
            assert f"{term}<small> {share:.1%}</small>" in page
    assert "as this one was" in teaching_page(walk(index, QUERY))


def test_filter_and_id_are_those_of_the_question(index: HybridIndex) -> None:
    walked = walk(index, QUERY, id="cat", where={"kind": "tale"})

    assert walked.explanation.id == "cat"
    assert all("vault" not in ids for ids in walked.rankings.values())
    with pytest.raises(ValueError, match="no document matches"):
        walk(index, QUERY, where={"kind": "song"})


def test_an_encoder_that_cannot_be_looked_into_is_named() -> None:
    index = HybridIndex.in_memory(encoder=ToyEncoder())
    index.add(DOCUMENTS)

    with pytest.raises(TypeError, match="the page needs a MiniEncoder"):
        walk(index, QUERY)


def test_without_bm25s_the_extra_is_named(index: HybridIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)

    with pytest.raises(MissingExtra, match=r"pip install 'tercet\[evaluation\]'"):
        walk(index, QUERY)
