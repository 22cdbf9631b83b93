from __future__ import annotations

import pytest

from tercet.reranking import late_interaction_scores
from tests.toys import ToyEncoder


def test_a_score_is_the_sum_over_query_tokens_of_the_best_document_token() -> None:
    encoder = ToyEncoder()
    texts = ["green pear", "a red apple", "apple"]

    scores = late_interaction_scores(encoder, "red apple", texts)

    query = encoder.encode_query("red apple").multi_vector.vectors
    expected = [
        float((query @ document.multi_vector.vectors.T).max(axis=1).sum())
        for document in encoder.encode_documents(texts)
    ]
    assert scores == pytest.approx(expected)
    assert max(scores) == scores[1] == pytest.approx(2)


def test_nothing_to_score_and_nothing_to_ask() -> None:
    assert late_interaction_scores(ToyEncoder(), "red", []) == []
    with pytest.raises(ValueError, match="empty"):
        late_interaction_scores(ToyEncoder(), " ", ["red"])
