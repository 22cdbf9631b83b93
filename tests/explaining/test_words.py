import pytest

from tercet.encoders.mini import MiniEncoder
from tercet.explaining.words import word_impacts
from tests.toys import ToyEncoder


@pytest.fixture(scope="module")
def mini() -> MiniEncoder:
    return MiniEncoder(threads=1)


def test_pieces_are_joined_to_words_with_their_characters(mini: MiniEncoder) -> None:
    text = "Thrombolysis for infarction: infarction kills."
    impacts = {impact.word: impact for impact in word_impacts(mini, text)}

    infarction = impacts["infarction"]
    assert [text[start:end] for start, end in infarction.spans] == ["infarction", "infarction"]
    assert len(infarction.pieces) > 1
    assert infarction.weight == pytest.approx(sum(weight for _, weight in infarction.pieces))
    assert not infarction.expansion


@pytest.mark.parametrize("query", [False, True])
def test_impacts_sum_to_all_weights(mini: MiniEncoder, query: bool) -> None:
    text = "The cats' and dogs' cardiac arrests, treated by thrombolysis"
    embedding = mini.encode_query(text) if query else next(mini.encode_documents([text]))

    total = sum(impact.weight for impact in word_impacts(mini, text, query=query))
    assert total == pytest.approx(float(embedding.sparse.values.sum()), rel=1e-5)


def test_expansions_name_the_word_that_brought_them_in(mini: MiniEncoder) -> None:
    text = "treatment of a broken leg"
    expansions = {impact.word: impact for impact in word_impacts(mini, text) if impact.expansion}

    assert expansions
    start, end = expansions["therapy"].spans[0]
    assert text[start:end] == "treatment"


def test_a_text_without_words_has_no_impacts() -> None:
    assert word_impacts(ToyEncoder(), "...") == []
