from __future__ import annotations

import json

import pytest

from tercet.errors import UnreadableFile
from tercet.evaluation.comparison import compare, comparison_to_dict, moved_documents
from tercet.types import Ranking, Scored

QRELS = {"up": {"x": 1}, "down": {"x": 1}, "same": {"x": 1}, "more": {"x": 1, "y": 1}}


def ranking(ids: str) -> Ranking:
    return [Scored(id, float(-position)) for position, id in enumerate(ids)]


BEFORE = {"up": ranking("abx"), "down": ranking("xab"), "same": ranking("x"), "more": ranking("abc")}
AFTER = {"up": ranking("xab"), "down": ranking("axb"), "same": ranking("x"), "more": ranking("xyc")}


def test_queries_that_won_and_lost_most_come_first() -> None:
    found = compare(BEFORE, AFTER, QRELS, measure="RR@10")

    assert [(change.query, change.a, change.b) for change in found.won] == [
        ("more", 0.0, 1.0),
        ("up", pytest.approx(1 / 3), 1.0),
    ]
    assert [(change.query, change.difference) for change in found.lost] == [("down", -0.5)]
    assert found.mean_b - found.mean_a == pytest.approx((1 + 2 / 3 - 1 / 2) / 4)
    assert found.difference is not None
    assert (found.difference.wins, found.difference.losses) == (2, 1)


def test_only_as_many_are_shown_as_are_asked_for() -> None:
    found = compare(BEFORE, AFTER, QRELS, measure="RR@10", most=1)

    assert [change.query for change in (*found.won, *found.lost)] == ["more", "down"]


def test_the_relevant_document_that_moved_most_is_named_with_its_ranks() -> None:
    moved = moved_documents(ranking("abxy"), ranking("xyab"), {"x": 1, "y": 2, "a": 0}, gained=True)

    # y: 2 · (1/2 − 1/4) = .5, x: 1 − 1/3.
    assert [(each.id, each.grade, each.rank_a, each.rank_b) for each in moved] == [("x", 1, 3, 1), ("y", 2, 4, 2)]


def test_where_no_relevant_document_moved_the_others_did() -> None:
    [moved] = moved_documents(ranking("ax"), ranking("x"), {"x": 0}, gained=True)

    assert (moved.id, moved.rank_a, moved.rank_b) == ("a", 1, None)


def test_each_shown_query_is_explained_by_its_first_moved_document() -> None:
    asked: list[tuple[str, str]] = []

    class Explanation:
        def to_dict(self) -> dict[str, str]:
            return {"because": "so"}

    def explain(query: str, id: str) -> Explanation:
        asked.append((query, id))
        return Explanation()

    texts = {query: f"text of {query}" for query in QRELS}
    found = compare(BEFORE, AFTER, QRELS, measure="RR@10", texts=texts, explain=explain)

    assert asked == [("text of more", "x"), ("text of up", "x"), ("text of down", "x")]
    value = json.loads(json.dumps(comparison_to_dict(found)))
    assert value["won"][0]["explanation"] == {"because": "so"}
    assert value["lost"][0]["moved"] == [{"id": "x", "grade": 1, "rank_a": 1, "rank_b": 2}]


def test_queries_that_one_run_leaves_out_are_counted() -> None:
    assert compare({"up": ranking("x")}, AFTER, QRELS).unanswered == 3


def test_a_run_of_another_collection_is_refused() -> None:
    with pytest.raises(UnreadableFile, match="the second run: answers none of the 4 judged queries"):
        compare(BEFORE, {"other": ranking("x")}, QRELS)
