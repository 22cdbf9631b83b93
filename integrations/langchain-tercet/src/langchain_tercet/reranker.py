"""A query and any retriever's documents in, the best of them out: late interaction as a document compressor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager, Callbacks
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.documents import Document as LangChainDocument
from pydantic import ConfigDict, Field, SkipValidation
from tercet.encoders.base import Encoder
from tercet.reranking import late_interaction_scores

from langchain_tercet.documents import RELEVANCE_SCORE
from langchain_tercet.embeddings import default_encoder

_RUN = "rerank"


class TercetReranker(BaseDocumentCompressor):
    """Orders documents by late interaction (MaxSim), whatever found them.

    Setup:
        ```bash
        pip install -U langchain-tercet
        ```

    Key init args:
        top_n: int | None
            Documents returned, 3 as with other rerankers; None keeps them all.
        score_threshold: float | None
            Least relevance score of a returned document.
        encoder: Encoder
            The shipped tercet-mini where none is given; `index.encoder` shares that of an index.

    Each returned document is a copy with `metadata["relevance_score"]`: over the query's tokens, the mean of the best
    cosine with a token of the document. It lies in [-1, 1] and means the same for every query.

    Instantiate:
        ```python
        from langchain_tercet import TercetReranker

        reranker = TercetReranker(top_n=5)
        ```

    Usage:
        ```python
        reranker.compress_documents(documents, "how often do we rotate keys?")
        ```

    Raises:
        ValueError: the query is empty.
    """

    top_n: Annotated[int, Field(ge=1, strict=True)] | None = 3
    score_threshold: float | None = None
    encoder: Annotated[Encoder, SkipValidation] = Field(default_factory=default_encoder, repr=False)

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def compress_documents(
        self, documents: Sequence[LangChainDocument], query: str, callbacks: Callbacks | None = None
    ) -> list[LangChainDocument]:
        """The best documents, best first; equal scores keep their order."""
        run = CallbackManager.configure(callbacks).on_chain_start(None, _inputs(documents, query), name=_RUN)
        try:
            best = self._best(documents, query)
        except BaseException as error:
            run.on_chain_error(error)
            raise
        run.on_chain_end(_outputs(best))
        return best

    async def acompress_documents(
        self, documents: Sequence[LangChainDocument], query: str, callbacks: Callbacks | None = None
    ) -> list[LangChainDocument]:
        """`compress_documents` in a thread of its own."""
        manager = AsyncCallbackManager.configure(callbacks)
        run = await manager.on_chain_start(None, _inputs(documents, query), name=_RUN)
        try:
            best = await asyncio.to_thread(self._best, documents, query)
        except BaseException as error:
            await run.on_chain_error(error)
            raise
        await run.on_chain_end(_outputs(best))
        return best

    def _best(self, documents: Sequence[LangChainDocument], query: str) -> list[LangChainDocument]:
        query_tokens = len(self.encoder.encode_query(query).multi_vector.vectors)
        sums = late_interaction_scores(self.encoder, query, [document.page_content for document in documents])
        scored = [(score / query_tokens, document) for score, document in zip(sums, documents, strict=True)]
        if self.score_threshold is not None:
            scored = [(score, document) for score, document in scored if score >= self.score_threshold]
        scored.sort(key=lambda pair: -pair[0])
        return [
            document.model_copy(update={"metadata": {**document.metadata, RELEVANCE_SCORE: float(score)}})
            for score, document in scored[: self.top_n]
        ]


def _inputs(documents: Sequence[LangChainDocument], query: str) -> dict[str, Any]:
    return {"query": query, "documents": len(documents)}


def _outputs(documents: Sequence[LangChainDocument]) -> dict[str, Any]:
    return {"documents": [[document.id, document.metadata[RELEVANCE_SCORE]] for document in documents]}
