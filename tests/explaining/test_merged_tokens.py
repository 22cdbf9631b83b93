"""An index that merges tokens: the explanation still adds up, and says for which tokens a stored row stands."""

import numpy as np
import pytest

from tercet import Document, HybridIndex, StorageOptions
from tercet.explaining.explanation import Explanation
from tercet.merging import token_groups
from tests.toys import ToyEncoder

TEXT = "the cat sat on the mat while the dog chased another cat"


@pytest.fixture(params=[2, 3])
def explanation(request: pytest.FixtureRequest) -> Explanation:
    index = HybridIndex.in_memory(encoder=ToyEncoder(), storage=StorageOptions(merge_tokens=request.param))
    index.add([Document(TEXT, "pets"), Document("rotate the signing keys", "keys")])
    return index.explain("cat mat keys", "pets")


def test_the_matches_sum_to_the_late_score(explanation: Explanation) -> None:
    assert sum(match.contribution for match in explanation.matches) == pytest.approx(explanation.stage("late").score)


def test_every_token_stands_behind_one_row(explanation: Explanation) -> None:
    [embedding] = ToyEncoder().encode_documents([TEXT])
    groups = token_groups(embedding.multi_vector.vectors, explanation.inquiry.merge_tokens)

    assert [[token.start for token in row] for row in explanation.rows] == [
        [explanation.tokens.late[position].start for position in group] for group in groups
    ]
    assert sorted(token.start for row in explanation.rows for token in row) == [
        token.start for token in explanation.tokens.late
    ]


def test_a_match_names_the_nearest_of_its_row_first_and_then_the_others(explanation: Explanation) -> None:
    [document] = ToyEncoder().encode_documents([TEXT])
    query = ToyEncoder().encode_query("cat mat keys").multi_vector.vectors

    for number, match in enumerate(explanation.matches):
        row = explanation.rows[int(explanation.grid[number].argmax())]
        assert {match.document, *match.merged} == set(row)
        positions = [explanation.tokens.late.index(token) for token in (match.document, *match.merged)]
        similarities = document.multi_vector.vectors[positions] @ query[number]
        assert np.all(np.diff(similarities) <= 1e-6)


def test_page_terminal_and_json_name_the_merged_tokens(explanation: Explanation) -> None:
    match = max(explanation.matches, key=lambda match: len(match.merged))
    words = [TEXT[token.start : token.end] for token in (match.document, *match.merged)]

    assert " + ".join(words) in explanation.to_html()
    assert " + ".join(words)[:20] in str(explanation)
    told = [each for each in explanation.to_dict()["matches"] if each.get("merged")]
    assert len(told) == sum(bool(match.merged) for match in explanation.matches)
