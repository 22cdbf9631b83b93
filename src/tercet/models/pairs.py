"""Training data: a folder of JSONL collections in, (query, document) pairs out, seeded and balanced by source."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

#: How many pairs each collection of `train/` gives at most. Definitions are short and many, so they are held down:
#: a head that saw mostly glossaries would weigh a document's first word too high.
PAIRS_PER_SOURCE: Mapping[str, int] = MappingProxyType(
    {
        "wordnet": 14_000,
        "debian-packages": 10_000,
        "tldr": 9_000,
        "medquad": 8_000,
        "foldoc": 5_500,
        "scitldr": 4_800,
        "jargon": 1_600,
        "pubmedqa-answers": 950,
    }
)
#: Collections of `text/` whose sections are paired with their own headings.
HEADED_TEXTS = ("python-docs", "postgresql-docs")
#: A sentence taken out of its passage asks for it: that teaches which words carry a text (an inverse cloze task).
SENTENCE_SOURCES = frozenset({"medquad", "scitldr", "foldoc", "jargon", "debian-packages", *HEADED_TEXTS})

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the document that answers it; `source` names the collection, so that batches can stay inside one."""

    query: str
    document: str
    source: str


def read_pairs(data: Path, *, seed: int = 0, share: float = 1.0) -> list[Pair]:
    """Read the training pairs below `data`, shuffled by `seed`; `share` < 1 takes that part of every source.

    Expects `train/NAME.jsonl` with {query, positive} and `text/NAME.jsonl` with {title, text}.
    """
    rng = random.Random(seed)
    pairs: list[Pair] = []
    for source, most in PAIRS_PER_SOURCE.items():
        rows = [(row["query"], row["positive"]) for row in _rows(data / "train" / f"{source}.jsonl")]
        pairs += _sample(rows, source, int(most * share), rng)
    for source in HEADED_TEXTS:
        rows = [(row["title"], row["text"]) for row in _rows(data / "text" / f"{source}.jsonl")]
        pairs += _sample(rows, source, int(len(rows) * share), rng)
    pairs += [
        Pair(sentence, pair.document, pair.source)
        for pair in pairs
        if pair.source in SENTENCE_SOURCES and (sentence := _inner_sentence(pair.document, rng))
    ]
    rng.shuffle(pairs)
    return pairs


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _sample(rows: list[tuple[str, str]], source: str, most: int, rng: random.Random) -> list[Pair]:
    usable = [(query.strip(), document.strip()) for query, document in rows]
    usable = [(query, document) for query, document in usable if query and len(document.split()) >= 3]
    return [Pair(query, document, source) for query, document in rng.sample(usable, min(most, len(usable)))]


def _inner_sentence(document: str, rng: random.Random) -> str | None:
    """A sentence of 5 to 30 words from the first 80 words, never the opening one (that is often the title again)."""
    sentences = _SENTENCE_END.split(" ".join(document.split()[:80]))[1:-1]
    candidates = [sentence for sentence in sentences if 5 <= len(sentence.split()) <= 30]
    if not candidates or rng.random() < 0.5:
        return None
    return rng.choice(candidates)
