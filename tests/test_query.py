"""What an observer hears, and what comes of vectors that were made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tercet import HybridIndex, SearchPlan
from tercet.errors import StoreError
from tests.toys import DENSE_DIM, ToyEncoder

TEXTS = ["a red apple", "a green pear", "red wine and cheese"]


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.values: dict[str, Any] = {}

    def started(self, step: str, inputs: Mapping[str, Any]) -> None:
        self.heard.append(("started", step))
        self.values[f"{step} inputs"] = inputs

    def finished(self, step: str, outputs: Mapping[str, Any]) -> None:
        self.heard.append(("finished", step))
        self.values[f"{step} outputs"] = outputs

    def failed(self, step: str, error: BaseException) -> None:
        self.heard.append(("failed", step))
        self.values[step] = error


@pytest.fixture
def index(toy_encoder: ToyEncoder) -> HybridIndex:
    index = HybridIndex.in_memory(encoder=toy_encoder)
    index.add(TEXTS)
    return index


async def test_an_observer_hears_the_steps_in_order(index: HybridIndex) -> None:
    blocking, waiting = Listener(), Listener()

    index.search("red apple", observer=blocking)
    await index.asearch("red apple", observer=waiting)

    steps = ["encode", "prefetch", "fuse", "rerank"]
    assert blocking.heard == [(event, step) for step in steps for event in ("started", "finished")]
    assert waiting.heard == blocking.heard
    assert waiting.values == blocking.values


def test_an_observer_is_told_each_ranking_in_json(index: HybridIndex) -> None:
    listener = Listener()

    index.search("red apple", observer=listener)

    told = json.loads(json.dumps(listener.values))
    trace = index.rankings(["red apple"])[0]
    assert told["encode inputs"] == {"queries": ["red apple"]}
    for step, stages in (("prefetch", ["dense", "sparse"]), ("fuse", ["fused"]), ("rerank", ["late"])):
        [rankings] = told[f"{step} outputs"]["rankings"]
        assert rankings == {stage: [list(scored) for scored in trace[stage]] for stage in stages}


def test_a_stage_that_takes_no_part_is_not_heard_of(index: HybridIndex) -> None:
    listener = Listener()

    index.search("red apple", plan=SearchPlan(stages=("dense", "sparse")), observer=listener)

    assert ("started", "rerank") not in listener.heard


def test_an_observer_hears_of_a_failure(index: HybridIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener()
    gone = StoreError("gone")

    def fail(*arguments: object, **options: object) -> None:
        raise gone

    monkeypatch.setattr(index.store, "prefetch", fail)
    with pytest.raises(StoreError):
        index.search("red", observer=listener)

    assert listener.heard[-1] == ("failed", "prefetch")
    assert listener.values["prefetch"] is gone


def test_one_stage_alone_keeps_its_own_scores(index: HybridIndex) -> None:
    query = index.encoder.encode_query("red apple")
    [hit, *_] = index.search("red apple", plan=SearchPlan(stages=("dense",)))

    assert hit.score == pytest.approx(float(query.dense @ index.dense_vectors([hit.id])[hit.id]))


async def test_a_dense_vector_from_elsewhere_goes_before_the_encoders(index: HybridIndex) -> None:
    pear = index.encoder.encode_query("a green pear").dense
    plan = SearchPlan(stages=("dense",))

    found = index.search("red apple", plan=plan, dense=3 * pear)

    assert found[0].text == "a green pear"
    assert found[0].score == pytest.approx(1)
    assert await index.asearch("red apple", plan=plan, dense=pear) == index.search("red apple", plan=plan, dense=pear)
    assert [hit.id for hit in index.nearest(pear, k=3)] == [hit.id for hit in found]


def test_documents_keep_the_dense_vectors_they_came_with(index: HybridIndex) -> None:
    vectors = np.eye(2, DENSE_DIM) * 5

    index.add([{"text": "one", "id": "1"}, {"text": "two", "id": "2"}], dense=vectors)

    kept = index.dense_vectors(["2", "1", "unknown"])
    assert kept.keys() == {"1", "2"}
    np.testing.assert_allclose(kept["2"], vectors[1] / 5)


def test_dense_vectors_stay_with_their_documents_when_one_fails(index: HybridIndex) -> None:
    report = index.add([{"text": ""}, {"text": "two", "id": "2"}], dense=np.eye(2, DENSE_DIM))

    assert len(report.failed) == 1
    np.testing.assert_allclose(index.dense_vectors(["2"])["2"], np.eye(2, DENSE_DIM)[1])


def test_another_dense_vector_for_the_same_text_is_written(index: HybridIndex) -> None:
    first, second = np.eye(2, DENSE_DIM)
    document = {"text": "one", "id": "1"}

    reports = [index.add([document], dense=[vector]) for vector in (first, first, second)]

    assert [(len(each.added), len(each.skipped), len(each.updated)) for each in reports] == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
    ]
    np.testing.assert_allclose(index.dense_vectors(["1"])["1"], second)
    assert index.add([document]).updated == ("1",)


@pytest.mark.parametrize(
    ("dense", "message"),
    [
        (np.ones((1, DENSE_DIM)), "1 dense vectors for 2 texts"),
        (np.ones((2, 3)), r"\(n, 16\), got shape \(2, 3\)"),
        (np.zeros((2, DENSE_DIM)), "position 0 has no direction"),
        (np.full((2, DENSE_DIM), np.nan), "position 0 has no direction"),
        ([[1.0], [1.0, 2.0]], r"\(n, 16\)"),
        ("ab", r"\(n, 16\)"),
    ],
)
def test_dense_vectors_of_no_use_are_refused_before_anything_is_written(
    index: HybridIndex, dense: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        index.add(iter(["one", "two"]), dense=dense)

    assert index.count() == len(TEXTS)


async def test_adding_and_deleting_have_asynchronous_twins(index: HybridIndex) -> None:
    report = await index.aadd([{"text": "a blue plum", "id": "plum"}])

    assert report.added == ("plum",)
    assert [document.text for document in await index.aget(["plum", "unknown"])] == ["a blue plum"]
    assert (await index.anearest((await index.adense_vectors(["plum"]))["plum"], k=1))[0].id == "plum"
    assert await index.adelete(["plum"]) == 1
    await index.aclose()
