"""Hard negatives: examples and any search function in, the same examples with documents that look right and are not."""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tercet.training.data import Example
from tercet.training.teachers import Teacher

#: Queries in, for each the texts of its best documents, best first.
Search = Callable[[Sequence[str]], Sequence[Sequence[str]]]

#: Queries that are searched, and whose candidates are judged, together.
BLOCK = 256


@dataclass(frozen=True, slots=True)
class Mined:
    """What mining found.

    examples: those for which there were enough negatives, with scores where a teacher was asked
    short: queries that were left out because too few candidates remained
    dropped: candidates that the teacher thinks answer the query, too
    """

    examples: tuple[Example, ...]
    short: tuple[str, ...]
    dropped: int


def mine(
    examples: Sequence[Example],
    search: Search,
    *,
    negatives: int = 8,
    teacher: Teacher | None = None,
    most_of_positive: float = 0.95,
    skip: int = 0,
    random_share: float = 0.0,
    seed: int = 0,
) -> Mined:
    """Give each example `negatives` documents that the search ranks high and that are no answer.

    A good search finds answers that nobody labelled. A teacher tells them: what scores above .95 of the positive is
    dropped (the rule of NV-Retriever, Moreira et al., 2024). Below 0, as logits may be, the margin is the same part of
    the positive's magnitude.

    search: BM25, dense, hybrid: whatever ranks texts. An index of ours is given as
        lambda queries: [[hit.text for hit in hits] for hits in map(index.search, queries)]
    skip: the first so many of each ranking are passed over, a remedy where there is no teacher
    random_share: part of the negatives that come from other examples' positives. All hard ones teach a model that
        what looks relevant never is.

    Raises:
        ValueError: a number out of its range, or a search that answers fewer queries than it was asked.
    """
    if negatives < 1 or skip < 0:
        raise ValueError(f"negatives must be at least 1 and skip at least 0, got {negatives} and {skip}")
    if not 0 <= random_share <= 1:
        raise ValueError(f"random_share must lie within 0 and 1, got {random_share}")
    answers: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        answers[example.query].add(_normal(example.positive))
    pool = sorted({example.positive for example in examples})
    rng = random.Random(f"mining {seed}")
    easy = round(random_share * negatives)
    mined, short, dropped = [], [], 0
    for block, rankings in _searched(examples, search):
        hard, easy_ones = [], []
        for example, ranking in zip(block, rankings, strict=True):
            found: dict[str, str] = {}
            for text in ranking[skip:]:
                if text.strip() and (key := _normal(text)) not in answers[example.query]:
                    found.setdefault(key, text.strip())
            drawn = rng.sample(pool, min(len(pool), 2 * easy))
            hard.append(list(found.values()))
            easy_ones.append([t for t in drawn if _normal(t) not in answers[example.query] and _normal(t) not in found])
        scores = _scores(block, [a + b for a, b in zip(hard, easy_ones, strict=True)], teacher)
        for example, texts_of, others, known in zip(block, hard, easy_ones, scores, strict=True):
            limit = known[0] - (1 - most_of_positive) * abs(known[0])
            judged = list(zip([*texts_of, *others], known[1:], strict=True))
            right = [pair for pair in judged if teacher is None or pair[1] <= limit]
            dropped += len(judged) - len(right)
            is_easy = set(others)
            kept = [pair for pair in right if pair[0] not in is_easy][: negatives - easy]
            kept += [pair for pair in right if pair[0] in is_easy][:easy]
            if len(kept) < negatives:
                short.append(example.query)
                continue
            by_teacher = (known[0], *(score for _, score in kept)) if teacher else ()
            mined.append(dataclasses.replace(example, negatives=tuple(t for t, _ in kept), scores=by_teacher))
    return Mined(tuple(mined), tuple(short), dropped)


def _searched(
    examples: Sequence[Example], search: Search
) -> Iterator[tuple[Sequence[Example], Sequence[Sequence[str]]]]:
    for start in range(0, len(examples), BLOCK):
        block = examples[start : start + BLOCK]
        rankings = search([example.query for example in block])
        if len(rankings) != len(block):
            raise ValueError(f"the search answered {len(rankings)} of {len(block)} queries; it must answer each")
        yield block, rankings


def _scores(
    block: Sequence[Example], candidates: Sequence[Sequence[str]], teacher: Teacher | None
) -> list[list[float]]:
    """For each example the teacher's score of its positive, then of its candidates; 0 where nobody was asked."""
    if teacher is None:
        return [[0.0] * (1 + len(texts)) for texts in candidates]
    pairs = [
        (example.query, text)
        for example, texts in zip(block, candidates, strict=True)
        for text in (example.positive, *texts)
    ]
    flat = iter(teacher.score(pairs).tolist())
    return [[next(flat) for _ in range(1 + len(texts))] for texts in candidates]


def _normal(text: str) -> str:
    """Two texts that differ in white space or case only are one document."""
    return " ".join(text.lower().split())
