"""Two explanations of one query in, what puts one document above the other out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tercet.encoders.base import Token
from tercet.explaining.explanation import Explanation, LateMatch, TermPart


@dataclass(frozen=True, slots=True)
class StageDifference:
    """What a stage gives to both final scores. The differences of all stages sum to that of the final scores."""

    stage: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        return self.first - self.second


@dataclass(frozen=True, slots=True)
class TermDifference:
    """A term that the query shares with one of the two documents or with both."""

    term: str
    first: TermPart | None
    second: TermPart | None

    @property
    def difference(self) -> float:
        return _contribution(self.first) - _contribution(self.second)


@dataclass(frozen=True, slots=True)
class MatchDifference:
    """A query token with what answers it best in each document."""

    query: Token
    first: LateMatch
    second: LateMatch

    @property
    def difference(self) -> float:
        return self.first.contribution - self.second.contribution


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two documents of one query side by side; all differences are first minus second."""

    first: Explanation
    second: Explanation

    @property
    def difference(self) -> float:
        """Of the final scores."""
        return self.first.score - self.second.score

    @cached_property
    def stages(self) -> tuple[StageDifference, ...]:
        return tuple(
            StageDifference(mine.stage, mine.contribution, theirs.contribution)
            for mine, theirs in zip(self.first.stages, self.second.stages, strict=True)
        )

    @cached_property
    def terms(self) -> tuple[TermDifference, ...]:
        """The greatest differences first."""
        first, second = ({term.token_id: term for term in side.terms} for side in (self.first, self.second))
        both = {**second, **first}
        differences = [TermDifference(both[i].term, first.get(i), second.get(i)) for i in both]
        return tuple(sorted(differences, key=lambda each: (-abs(each.difference), each.term)))

    @cached_property
    def matches(self) -> tuple[MatchDifference, ...]:
        """In the query's order; empty where one of the documents has no stored multi-vector."""
        if not self.first.matches or not self.second.matches:
            return ()
        pairs = zip(self.first.matches, self.second.matches, strict=True)
        return tuple(MatchDifference(mine.query, mine, theirs) for mine, theirs in pairs)

    @property
    def summary(self) -> str:
        """Which one is above, by how much, and by which stages."""
        above, below = (self.first, self.second) if self.difference >= 0 else (self.second, self.first)
        sign = 1 if self.difference >= 0 else -1
        gives = ", ".join(
            f"{each.stage} {sign * each.difference:+.4f}"
            for each in sorted(self.stages, key=lambda each: -sign * each.difference)
            if each.difference
        )
        if not self.difference:
            return f"{above.id} and {below.id} have the same score"
        return f"{above.id} is {abs(self.difference):.4f} above {below.id}: {gives}"

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        from tercet.explaining.as_dict import comparison_to_dict

        return comparison_to_dict(self)

    def __str__(self) -> str:
        from tercet.explaining.terminal import as_text

        return as_text(self)


def _contribution(part: TermPart | None) -> float:
    return 0.0 if part is None else part.contribution
