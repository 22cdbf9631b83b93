"""A question and ids in, an explanation of each document out: the way of a query once more, written with `await`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from numpy.typing import ArrayLike

from tercet.encoders.base import Encoder
from tercet.explaining.explanation import Explanation
from tercet.explaining.inquiry import Inquiry
from tercet.plan import SearchPlan
from tercet.query import Embed, Question, rank
from tercet.scope import Scope
from tercet.store.base import Reader
from tercet.types import DENSE, LATE, SPARSE, Document, Stored


class SearchOptions(TypedDict, total=False):
    """What `HybridIndex.search` is asked with: an explanation is of that search."""

    k: int | None
    where: Mapping[str, Any] | None
    plan: SearchPlan | None
    dense: ArrayLike | None


async def explained(
    question: Question,
    embed: Embed,
    reader: Reader,
    encoder: Encoder,
    keys: Sequence[tuple[str, Sequence[str]]],
    scope: Scope,
    *,
    dense_given: bool,
    merge_tokens: int,
) -> list[Explanation]:
    """One for each pair of `keys`, in their order.

    question: one query
    keys: of each document its id, and under which keys the store may keep it; the first that `scope` owns counts
    dense_given, merge_tokens: see `Inquiry`

    Raises:
        ValueError: no document of an id is stored.
    """
    [embedding], [trace] = await rank(question, embed, reader)
    inquiry = Inquiry(question.queries[0], question.plan, embedding, trace, encoder, dense_given, merge_tokens)
    stored = await reader.read([key for _, each in keys for key in each], vectors=(DENSE, SPARSE, LATE))
    return [Explanation.of(inquiry, *_owned(id_, each, stored, scope)) for id_, each in keys]


def _owned(id: str, keys: Sequence[str], stored: Mapping[str, Stored], scope: Scope) -> tuple[str, Stored, Document]:
    for key in keys:
        if key in stored and scope.owns(stored[key].document):
            return key, stored[key], scope.shown(stored[key].document)
    raise ValueError(f"there is no document {id!r} in this index; give an id that a hit has, or that was added")
