"""An explanation is the same over every store, for callers that block and for event loops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from tercet import Document, HybridIndex
from tercet.store.qdrant import QdrantStore
from tests.store.rest_double import RestDouble
from tests.toys import ToyEncoder

QUERY = "heart attack oxygen"
TEXTS = {
    "attack": "heart attack: the patient gets oxygen",
    "arrest": "cardiac arrest, begin chest compressions",
    "cat": "the cat sat on the mat",
}
HALF_PRECISION = 5e-3


def filled(index: HybridIndex) -> HybridIndex:
    index.add([Document(text, id_, {"animal": id_ == "cat"}) for id_, text in TEXTS.items()])
    return index


@pytest.fixture(params=["edge", "client", "rest"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HybridIndex]:
    toy = ToyEncoder()
    match request.param:
        case "edge":
            with HybridIndex.open(tmp_path / "kb", encoder=toy) as index:
                yield filled(index)
        case "client":
            with HybridIndex(QdrantStore.open(QdrantClient(":memory:"), "kb", toy.spec), toy) as index:
                yield filled(index)
        case "rest":
            with RestDouble() as double, HybridIndex.open(url=double.url, encoder=toy) as index:
                yield filled(index)


@pytest.fixture
def oracle() -> HybridIndex:
    return filled(HybridIndex.in_memory(encoder=ToyEncoder()))


def test_every_part_is_that_of_the_exact_store(index: HybridIndex, oracle: HybridIndex) -> None:
    for id_ in TEXTS:
        found, expected = (each.explain(QUERY, id_) for each in (index, oracle))

        assert (found.rank, found.score) == (expected.rank, pytest.approx(expected.score, abs=HALF_PRECISION))
        for part, exact in zip(found.stages, expected.stages, strict=True):
            assert (part.stage, part.rank) == (exact.stage, exact.rank)
            assert part.computed == pytest.approx(exact.computed, abs=HALF_PRECISION)
        assert [(term.term, term.expansion) for term in found.terms] == [
            (term.term, term.expansion) for term in expected.terms
        ]
        assert [match.document for match in found.matches] == [match.document for match in expected.matches]
        np.testing.assert_allclose(found.grid, expected.grid, atol=HALF_PRECISION)


async def test_an_event_loop_hears_the_same(index: HybridIndex) -> None:
    async with index:
        explanations = await index.aexplain_many(QUERY, list(TEXTS), k=1)
        one = await index.aexplain(QUERY, "cat", k=1)
        fell = await index.awhy_not(QUERY, "cat", k=1, where={"animal": False})
        compared = await index.acompare(QUERY, "attack", "cat")

        blocking = index.explain_many(QUERY, list(TEXTS), k=1)
        assert [each.to_dict() for each in explanations] == [each.to_dict() for each in blocking]
        assert one.to_dict() == blocking[-1].to_dict()
        assert fell.to_dict() == index.why_not(QUERY, "cat", k=1, where={"animal": False}).to_dict()
        assert compared.to_dict() == index.compare(QUERY, "attack", "cat").to_dict()


def test_the_filter_of_a_search_is_that_of_its_explanation(index: HybridIndex) -> None:
    assert index.explain(QUERY, "cat", where={"animal": True}).stage("dense").ranked == 1
    gate = index.why_not(QUERY, "cat", where={"animal": False}).fell_at
    assert gate is not None
    assert gate.name == "filter"


async def test_an_option_that_is_none_is_named(oracle: HybridIndex) -> None:
    for call in (oracle.explain, oracle.why_not):
        with pytest.raises(TypeError, match="prefetch_k"):
            call(QUERY, "cat", prefetch_k=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="prefetch_k"):
        await oracle.aexplain(QUERY, "cat", prefetch_k=3)  # type: ignore[call-arg]
