import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.fusion import min_max_fusion, reciprocal_rank_fusion
from tercet.types import Scored

DENSE = [Scored("a", 0.9), Scored("b", 0.8)]
SPARSE = [Scored("c", 7.0), Scored("b", 5.0)]


def test_fusion_prefers_a_document_found_twice() -> None:
    fused = reciprocal_rank_fusion({"dense": DENSE, "sparse": SPARSE})

    assert [scored.id for scored in fused] == ["b", "a", "c"]
    assert fused[0].score == pytest.approx(2 / 62)


def test_a_weight_multiplies_the_reciprocal_rank() -> None:
    fused = dict(reciprocal_rank_fusion({"dense": DENSE, "sparse": SPARSE}, rank_constant=1, weights={"sparse": 3}))

    assert fused == pytest.approx({"a": 1 / 2, "b": 1 / 3 + 3 / 3, "c": 3 / 2})


def test_min_max_keeps_how_far_apart_scores_are() -> None:
    near = [Scored("a", 10.0), Scored("b", 9.9), Scored("c", 0.0)]
    fused = dict(min_max_fusion({"near": near, "other": [Scored("b", 2.0), Scored("c", 1.0)]}))

    assert fused == pytest.approx({"a": 0.5, "b": (0.99 + 1) / 2, "c": 0.0})


def test_min_max_of_one_document_is_the_best_there_is() -> None:
    assert min_max_fusion({"dense": [Scored("a", -3.0)], "sparse": []}) == [Scored("a", 0.5)]


RANKINGS = st.dictionaries(
    st.sampled_from(["dense", "sparse", "late"]),
    st.lists(st.sampled_from("abcdefgh"), unique=True).map(
        lambda ids: [Scored(id_, -float(n)) for n, id_ in enumerate(ids)]
    ),
)


@given(RANKINGS)
def test_fusion_equals_the_papers_sum_and_breaks_ties_by_id(rankings: dict[str, list[Scored]]) -> None:
    fused = reciprocal_rank_fusion(rankings)

    for id_, score in fused:
        ranks = [
            [scored.id for scored in ranking].index(id_) + 1 for ranking in rankings.values() if id_ in dict(ranking)
        ]
        assert score == pytest.approx(sum(1 / (60 + rank) for rank in ranks))
    assert fused == sorted(fused, key=lambda scored: (-scored.score, scored.id))
    assert {scored.id for scored in fused} == {scored.id for ranking in rankings.values() for scored in ranking}
