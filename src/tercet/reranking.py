"""A query and any texts in, their late-interaction scores out: for texts that some other retriever found."""

from __future__ import annotations

from collections.abc import Sequence

from tercet.encoders.base import Encoder
from tercet.scoring import maxsim


def late_interaction_scores(encoder: Encoder, query: str, texts: Sequence[str]) -> list[float]:
    """MaxSim of each text, in their order: Σ over query tokens of the best document token (Khattab & Zaharia, 2020).

    Between minus and plus the number of query tokens, which is the same for all texts of one query.

    Raises:
        ValueError: the query is empty.
    """
    tokens = encoder.encode_query(query).multi_vector
    return maxsim(tokens, [embedding.multi_vector for embedding in encoder.encode_documents(texts)])
