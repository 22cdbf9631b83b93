"""Engines cut a ranking anywhere among equal scores; these cuts are by id, so that two runs agree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from tercet.types import Ranking, ranked

#: Beyond so many equal scores at the cut, which of them are returned is left to the engine.
MAX_TIED = 10_000


AskLonger: TypeAlias = Callable[[int, int], Awaitable[Ranking]]


async def cut_by_id(rankings: Sequence[Ranking], limit: int, ask: AskLonger) -> list[Ranking]:
    """The first `limit` of each ranking, equal scores by id also where the cut falls among them.

    rankings: best first, each asked for with `limit + 1`, so that a tie at the cut shows
    ask: (position of the ranking, a larger limit) → the same ranking, longer
    """
    return [ranked(await _whole_tie(ranking, limit, ask, position), limit) for position, ranking in enumerate(rankings)]


async def _whole_tie(ranking: Ranking, limit: int, ask: AskLonger, position: int) -> Ranking:
    asked = limit + 1
    while len(ranking) == asked < limit + MAX_TIED and ranking[-1].score == ranking[limit - 1].score:
        asked = min(4 * asked, limit + MAX_TIED)
        ranking = await ask(position, asked)
    return ranking
