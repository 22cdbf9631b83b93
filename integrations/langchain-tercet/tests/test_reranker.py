"""TercetReranker: late interaction over documents that something else found."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from pydantic import ValidationError
from tercet.encoders.mini import MiniEncoder

from langchain_tercet import TercetReranker

from .conftest import DOCUMENTS

QUERY = "how often must keys be changed?"


@pytest.fixture
def reranker(encoder: MiniEncoder) -> TercetReranker:
    return TercetReranker(encoder=encoder, top_n=None)


def mean_of_best_cosines(encoder: MiniEncoder, query: str, text: str) -> float:
    tokens = encoder.encode_query(query).multi_vector.weighted
    [document] = encoder.encode_documents([text])
    return float(np.mean(np.max(tokens @ document.multi_vector.vectors.T, axis=1)))


async def test_it_orders_by_late_interaction(reranker: TercetReranker, encoder: MiniEncoder) -> None:
    score = {d.id: mean_of_best_cosines(encoder, QUERY, d.page_content) for d in DOCUMENTS}

    reranked = reranker.compress_documents(DOCUMENTS, QUERY)

    assert [document.id for document in reranked] == sorted(score, key=lambda id_: -score[str(id_)])
    for document in reranked:
        assert document.metadata["relevance_score"] == pytest.approx(score[str(document.id)], abs=1e-3)
        assert type(document.metadata["relevance_score"]) is float
    assert await reranker.acompress_documents(DOCUMENTS, QUERY) == reranked


def test_it_changes_no_document(reranker: TercetReranker) -> None:
    document = Document(page_content="a key", metadata={"n": 1}, id="a")

    [reranked] = reranker.compress_documents([document], QUERY)

    assert document == Document(page_content="a key", metadata={"n": 1}, id="a")
    assert (reranked.id, reranked.metadata["n"]) == ("a", 1)


def test_top_n_and_threshold_cut(encoder: MiniEncoder, reranker: TercetReranker) -> None:
    scores = [d.metadata["relevance_score"] for d in reranker.compress_documents(DOCUMENTS, QUERY)]

    assert len(TercetReranker(encoder=encoder).compress_documents(DOCUMENTS, QUERY)) == 3
    assert len(TercetReranker(encoder=encoder, top_n=1).compress_documents(DOCUMENTS, QUERY)) == 1
    strict = TercetReranker(encoder=encoder, score_threshold=scores[1])
    assert [d.metadata["relevance_score"] for d in strict.compress_documents(DOCUMENTS, QUERY)] == scores[:2]


def test_nothing_in_nothing_out(reranker: TercetReranker) -> None:
    assert reranker.compress_documents([], QUERY) == []


def test_a_document_without_text_comes_last(reranker: TercetReranker) -> None:
    documents = [Document(page_content="", id="empty"), *DOCUMENTS]

    assert "empty" in [document.id for document in reranker.compress_documents(documents, QUERY)]


async def test_bad_input_is_refused(reranker: TercetReranker) -> None:
    with pytest.raises(ValueError, match="the query is empty"):
        reranker.compress_documents(DOCUMENTS, " ")
    with pytest.raises(ValueError, match="the query is empty"):
        await reranker.acompress_documents(DOCUMENTS, "")
    for field in ({"top_n": 0}, {"top_n": 2.5}, {"top_k": 3}):
        with pytest.raises(ValidationError):
            TercetReranker(**field)


class Told(BaseCallbackHandler):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.events.append(("start", kwargs["name"], inputs))

    def on_chain_end(self, outputs: Any, **_: Any) -> None:
        self.events.append(("end", outputs))

    def on_chain_error(self, error: BaseException, **_: Any) -> None:
        self.events.append(("error", str(error)))


async def test_callbacks_hear_of_it(reranker: TercetReranker) -> None:
    for awaited in (False, True):
        told = Told()
        arguments = (DOCUMENTS[:2], QUERY, [told])
        best = await reranker.acompress_documents(*arguments) if awaited else reranker.compress_documents(*arguments)

        assert told.events[0] == ("start", "rerank", {"query": QUERY, "documents": 2})
        assert told.events[1] == ("end", {"documents": [[d.id, d.metadata["relevance_score"]] for d in best]})
        json.dumps(told.events)


async def test_callbacks_hear_of_a_failure(reranker: TercetReranker) -> None:
    told = Told()

    with pytest.raises(ValueError, match="empty"):
        await reranker.acompress_documents(DOCUMENTS, " ", [told])

    assert told.events[1][0] == "error"


def test_one_model_serves_all_that_name_none() -> None:
    assert TercetReranker().encoder is TercetReranker().encoder
