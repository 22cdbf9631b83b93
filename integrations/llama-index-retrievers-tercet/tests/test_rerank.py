"""The reranker: MaxSim of each node, best first, over any retriever's nodes."""

from typing import Any

import numpy as np
import pytest
from llama_index.core import QueryBundle, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

from llama_index.embeddings.tercet import TercetEmbedding
from llama_index.postprocessor.tercet import TercetRerank
from llama_index.retrievers.tercet import ExplainedNode, TercetRetriever
from tercet import HybridIndex
from tercet.encoders.base import Encoder

TEXTS = [
    "The cafeteria serves soup at noon.",
    "Lost keys are reported to the security desk.",
    "Rotate the signing keys every 90 days.",
]


def nodes_of(texts: list[str]) -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(id_=f"n{n}", text=text), score=0.5) for n, text in enumerate(texts)]


def maxsim(encoder: Encoder, query: str, text: str) -> float:
    tokens = encoder.encode_query(query).multi_vector.weighted
    [document] = encoder.encode_documents([text])
    return float(np.sum(np.max(tokens @ document.multi_vector.vectors.T, axis=1)))


def test_scores_are_maxsim_and_the_best_come_first(encoder: Encoder) -> None:
    by_hand = {f"n{n}": maxsim(encoder, "rotate keys", text) for n, text in enumerate(TEXTS)}

    best = TercetRerank(encoder, top_n=2).postprocess_nodes(nodes_of(TEXTS), query_str="rotate keys")

    assert [found.node_id for found in best] == sorted(by_hand, key=lambda id_: -by_hand[id_])[:2]
    # In a batch with longer texts, an int8 model's last digits are others.
    assert [found.score for found in best] == pytest.approx([by_hand[found.node_id] for found in best], abs=0.05)
    assert {type(found.score) for found in best} == {float}


def test_nodes_that_came_in_stay_as_they_are(encoder: Encoder) -> None:
    nodes = nodes_of(TEXTS)
    TercetRerank(encoder).postprocess_nodes(nodes, query_str="rotate keys")

    assert [(found.node_id, found.score) for found in nodes] == [("n0", 0.5), ("n1", 0.5), ("n2", 0.5)]


def test_equal_scores_keep_their_order(encoder: Encoder) -> None:
    nodes = nodes_of([TEXTS[2]] * 4)

    best = TercetRerank(encoder, top_n=3).postprocess_nodes(nodes, query_str="rotate keys")
    assert [found.node_id for found in best] == ["n0", "n1", "n2"]


def test_no_nodes_are_no_error_and_fewer_than_top_n_are_all(encoder: Encoder) -> None:
    assert TercetRerank(encoder).postprocess_nodes([], query_str="keys") == []
    assert len(TercetRerank(encoder, top_n=50).postprocess_nodes(nodes_of(TEXTS), query_str="keys")) == 3


async def test_the_awaited_way_gives_the_same(encoder: Encoder) -> None:
    rerank = TercetRerank(encoder)
    bundle = QueryBundle("rotate keys")

    assert await rerank.apostprocess_nodes(nodes_of(TEXTS), bundle) == rerank.postprocess_nodes(nodes_of(TEXTS), bundle)


def test_metadata_are_read_where_that_is_asked_for(encoder: Encoder) -> None:
    nodes = [
        NodeWithScore(node=TextNode(id_="plain", text="A page.")),
        NodeWithScore(node=TextNode(id_="titled", text="A page.", metadata={"title": "Rotating the signing keys"})),
    ]

    alone = TercetRerank(encoder).postprocess_nodes(nodes, query_str="rotate signing keys")
    embed = TercetRerank(encoder, metadata_mode=MetadataMode.EMBED).postprocess_nodes(
        nodes, query_str="rotate signing keys"
    )
    assert alone[0].score == alone[1].score
    assert [found.node_id for found in embed] == ["titled", "plain"]


def test_an_explained_node_keeps_its_explanation(memory_index: HybridIndex) -> None:
    memory_index.add(TEXTS, progress=False)
    [found] = TercetRerank(memory_index.encoder, top_n=1).postprocess_nodes(
        TercetRetriever(memory_index).retrieve("rotate keys"), query_str="rotate keys"
    )

    assert isinstance(found, ExplainedNode)
    assert found.score == pytest.approx(found.stages["late"].score, abs=0.05)


def test_it_reranks_another_retriever_in_a_query_engine(encoder: Encoder) -> None:
    index = VectorStoreIndex([TextNode(text=text) for text in TEXTS], embed_model=TercetEmbedding(encoder))
    engine = RetrieverQueryEngine.from_args(
        index.as_retriever(similarity_top_k=3),
        llm=MockLLM(),
        node_postprocessors=[TercetRerank(encoder, top_n=1)],
    )

    assert [source.text for source in engine.query("rotate keys").source_nodes] == [TEXTS[2]]


def test_what_is_written_down_names_the_model(encoder: Encoder) -> None:
    assert TercetRerank(encoder, top_n=4).to_dict() == {
        "model": encoder.spec.name,
        "top_n": 4,
        "metadata_mode": MetadataMode.NONE,
        "class_name": "TercetRerank",
    }


# --- bad input ---


@pytest.mark.parametrize("top_n", [0, -1, 1.5])
def test_no_nodes_at_all_cannot_be_asked_for(encoder: Encoder, top_n: Any) -> None:
    with pytest.raises(ValueError, match="top_n"):
        TercetRerank(encoder, top_n=top_n)


def test_a_query_is_needed(encoder: Encoder) -> None:
    with pytest.raises(ValueError, match="query"):
        TercetRerank(encoder).postprocess_nodes(nodes_of(TEXTS))
    with pytest.raises(ValueError, match="empty"):
        TercetRerank(encoder).postprocess_nodes(nodes_of(TEXTS), query_str=" ")


def test_an_unknown_option_is_refused(encoder: Encoder) -> None:
    with pytest.raises(TypeError, match="top_k"):
        TercetRerank(encoder, top_k=3)  # type: ignore[call-arg]


def test_an_index_in_place_of_its_encoder_is_refused(memory_index: HybridIndex) -> None:
    with pytest.raises(TypeError, match=r"index\.encoder"):
        TercetRerank(memory_index)  # type: ignore[arg-type]
