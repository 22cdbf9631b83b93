import math

import pytest

from tercet.evaluation.bm25 import bm25_run
from tercet.types import Document

DOCUMENTS = [Document("cats chase dogs", "a"), Document("dogs sleep all day long", "b"), Document("green pears", "c")]


def test_scores_are_lucenes_formula() -> None:
    seconds: list[float] = []
    [(scored, *rest)] = bm25_run(DOCUMENTS, {"q": "the chasing cat"}, seconds=seconds).values()

    # Both words stand once in one of three documents; stop words are gone, so the lengths are 3, 5 and 2 ("all" stays).
    idf, length, mean = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5)), 3, (3 + 5 + 2) / 3
    expected = 2 * idf * 1 / (1 + 1.5 * (1 - 0.75 + 0.75 * length / mean))
    assert (scored.id, scored.score) == ("a", pytest.approx(expected, rel=1e-5))
    assert rest == []
    assert len(seconds) == 1


def test_what_shares_no_word_is_not_found() -> None:
    assert bm25_run(DOCUMENTS, {"q": "quantum"}) == {"q": []}
    assert [scored.id for scored in bm25_run(DOCUMENTS, {"q": "dogs"})["q"]] == ["a", "b"]


def test_no_documents_and_no_stemmer_are_named() -> None:
    with pytest.raises(ValueError, match="needs the documents"):
        bm25_run([], {"q": "a"})
    with pytest.raises(ValueError, match="no stemmer for 'klingon'; there are arabic"):
        bm25_run(DOCUMENTS, {"q": "a"}, language="klingon")
