from __future__ import annotations

from tercet.store.ties import cut_by_id
from tercet.types import Ranking, Scored


def engine(names: list[str], scores: list[float]) -> tuple[Ranking, list[int]]:
    return [Scored(name, score) for name, score in zip(names, scores, strict=True)], []


async def test_a_tie_at_the_cut_is_fetched_whole() -> None:
    whole, asked = engine(list("zyxwvuts"), [9.0, 5, 5, 5, 5, 5, 5, 1])

    async def ask(position: int, limit: int) -> Ranking:
        asked.append(limit)
        return whole[:limit]

    assert await cut_by_id([whole[:3]], 2, ask) == [[Scored("z", 9), Scored("t", 5)]]
    assert asked == [12]


async def test_without_a_tie_nothing_is_asked_again() -> None:
    whole, _ = engine(list("cba"), [3.0, 2, 1])

    async def ask(position: int, limit: int) -> Ranking:
        raise LookupError("asked again")

    assert await cut_by_id([whole, whole[:2]], 2, ask) == [whole[:2], whole[:2]]


async def test_a_tie_without_end_is_given_up() -> None:
    asked: list[int] = []

    async def ask(position: int, limit: int) -> Ranking:
        asked.append(limit)
        return [Scored(f"{n:06}", 1.0) for n in range(limit)]

    (cut,) = await cut_by_id([await ask(0, 3)], 2, ask)

    assert len(cut) == 2
    assert max(asked) == 10_002
