"""Any retriever's nodes in, the best of them by late interaction out."""

from __future__ import annotations

from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from llama_index.retrievers.tercet.given import given_or_shipped
from tercet.encoders.base import Encoder
from tercet.reranking import late_interaction_scores

dispatcher = get_dispatcher(__name__)


class TercetRerank(BaseNodePostprocessor):
    """Orders nodes by late interaction (ColBERT's MaxSim) with a tercet encoder: offline, no second model.

    A node's score becomes its MaxSim, between minus and plus the number of the query's tokens. Equal scores keep the
    order they came in. The nodes that are passed in stay as they are. `TercetRetriever` has reranked already; this is
    for the nodes of any other retriever.

    Example:
        ```python
        from llama_index.core.schema import NodeWithScore, TextNode
        from llama_index.postprocessor.tercet import TercetRerank

        texts = ["The cafeteria opens at noon.", "Rotate the signing keys every 90 days."]
        nodes = [NodeWithScore(node=TextNode(text=text)) for text in texts]
        print(TercetRerank(top_n=1).postprocess_nodes(nodes, query_str="key rotation")[0].text)
        ```
    """

    model: str = Field(description="Name of the encoder.")
    top_n: int = Field(description="Nodes returned.", ge=1)
    metadata_mode: MetadataMode = Field(description="Which metadata are read together with the text.")

    _encoder: Encoder = PrivateAttr()

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        top_n: int = 10,
        metadata_mode: MetadataMode = MetadataMode.NONE,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """Share an index's encoder (`index.encoder`), or load the shipped one.

        metadata_mode: NONE scores the text alone, as an index does; EMBED puts before it the metadata that embed models
            are shown
        """
        encoder = given_or_shipped(encoder)
        fields: dict[str, Any] = {
            "model": encoder.spec.name,
            "top_n": top_n,
            "metadata_mode": metadata_mode,
            "callback_manager": callback_manager or CallbackManager([]),
        }
        super().__init__(**fields)
        self._encoder = encoder

    @classmethod
    def class_name(cls) -> str:
        return "TercetRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("reranking needs the query; pass query_str or query_bundle")
        query = query_bundle.query_str
        dispatcher.event(ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=self.model))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            texts = [node.get_content(metadata_mode=self.metadata_mode) for node in nodes]
            scores = late_interaction_scores(self._encoder, query, texts) if texts else []
            order = sorted(range(len(nodes)), key=lambda position: -scores[position])[: self.top_n]
            best = [nodes[position].model_copy(update={"score": float(scores[position])}) for position in order]
            event.on_end(payload={EventPayload.NODES: best})
        dispatcher.event(ReRankEndEvent(nodes=best))
        return best
