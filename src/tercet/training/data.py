"""Training data: JSONL files in, checked examples out, and the batches of every step."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tercet.errors import InvalidTrainingData
from tercet.training.lines import files, lines, record, refuse, wrong_text


@dataclass(frozen=True, slots=True)
class Example:
    """A query, the document that answers it, documents that do not, and what a teacher thinks of them.

    scores: of the positive, then of each negative; empty where no teacher was asked
    source: the file's name, so that batches can stay inside one
    """

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    source: str = ""

    def to_json(self) -> str:
        values: dict[str, Any] = {"query": self.query, "positive": self.positive}
        if self.negatives:
            values["negatives"] = self.negatives
        if self.scores:
            values["scores"] = self.scores
        return json.dumps(values, ensure_ascii=False)


def read_examples(
    paths: str | Path | Sequence[str | Path], *, negatives: int = 0, scores: bool = False
) -> list[Example]:
    """Read JSONL with one {"query": …, "positive": …, "negatives": […], "scores": […]} a line.

    Everything is read and checked before anything is trained. Other keys are left alone; empty lines, too.

    paths: files, or folders whose *.jsonl are read in order of name
    negatives: how many each line must have at least
    scores: whether each line must have a teacher's scores

    Raises:
        InvalidTrainingData: names every bad line with its file and number.
    """
    named = files(paths)
    problems: list[str] = []
    examples: list[Example] = []
    for path in named:
        for place, line in lines(path, problems):
            found = _example(line, path.stem, negatives=negatives, scores=scores) if line else None
            if isinstance(found, Example):
                examples.append(found)
            elif found is not None:
                problems.append(f"{place}: {found}")
    refuse(problems)
    if not examples:
        names = ", ".join(map(str, named))
        raise InvalidTrainingData(f"no example in {names}; each line is a JSON object with a query and a positive")
    return examples


def write_examples(path: str | Path, examples: Iterable[Example]) -> None:
    """Write what `read_examples` reads."""
    Path(path).write_text("".join(example.to_json() + "\n" for example in examples), encoding="utf-8")


def _example(line: str, source: str, *, negatives: int, scores: bool) -> Example | str:
    """The example of one line, or what is wrong with it."""
    values = record(line, "query and positive")
    if isinstance(values, str):
        return values
    if wrong := wrong_text(values, "query") or wrong_text(values, "positive"):
        return wrong
    query, positive = values["query"].strip(), values["positive"].strip()
    others = values.get("negatives", [])
    if "negative" in values and "negatives" not in values:
        return 'has "negative"; write "negatives": ["…"], a list'
    if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
        return "its negatives are no list of texts"
    others = [other.strip() for other in others]
    if "" in others:
        return f"negative {others.index('') + 1} is empty; leave it out, and its score"
    if positive in others:
        return f"negative {others.index(positive) + 1} is the positive itself; leave it out, and its score"
    if len(others) < negatives:
        return f"has {_count(len(others), 'negative')}, {negatives} are asked for; mine more, or ask for fewer"
    scored = values.get("scores", [])
    if not isinstance(scored, list) or not all(_is_number(value) for value in scored):
        return "its scores are no list of finite numbers"
    if scored and len(scored) != 1 + len(others):
        return (
            f"has {_count(len(scored), 'score')} for 1 positive and {_count(len(others), 'negative')}; "
            f"expected {1 + len(others)}, the positive's first"
        )
    if scores and not scored:
        return "has no scores; label the file with a teacher, or train without margin_mse and kl_divergence"
    return Example(query, positive, tuple(others), tuple(map(float, scored)), source)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def split_held_out(examples: Sequence[Example], count: int, *, seed: int) -> tuple[list[Example], list[Example]]:
    """(training, held out): `count` queries with all their examples, and no document that a held-out query asks for.

    A positive that stays in training would be known by heart, and the slice would only measure memory.
    """
    queries = sorted({example.query for example in examples})
    chosen = set(random.Random(f"held out {seed}").sample(queries, min(count, len(queries))))
    held_out = [example for example in examples if example.query in chosen]
    answers = {example.positive for example in held_out}
    training = [example for example in examples if example.query not in chosen and example.positive not in answers]
    return training, held_out


def epoch_batches(
    examples: Sequence[Example], size: int, *, epoch: int, seed: int, one_source_share: float = 0.5
) -> list[list[int]]:
    """All batches of one epoch, as positions in `examples`; the same for the same seed and epoch.

    `one_source_share` of the examples are put together with others of their own source: negatives from the same source
    are the hard ones, telling an aspirin page from a database page is easy. What fills no batch waits for the next
    epoch.

    Raises:
        ValueError: there are fewer examples than a batch takes.
    """
    if len(examples) < size:
        raise ValueError(f"a batch of {size} needs at least {size} examples, got {len(examples)}; lower batch_size")
    rng = random.Random(f"epoch {epoch} {seed}")
    order = list(range(len(examples)))
    rng.shuffle(order)
    together, mixed = order[: int(one_source_share * len(order))], order[int(one_source_share * len(order)) :]
    by_source: dict[str, list[int]] = defaultdict(list)
    for position in together:
        by_source[examples[position].source].append(position)
    batches = []
    for source in sorted(by_source):
        members = by_source[source]
        full = len(members) - len(members) % size
        batches += [members[start : start + size] for start in range(0, full, size)]
        mixed += members[full:]
    rng.shuffle(mixed)
    batches += [mixed[start : start + size] for start in range(0, len(mixed) - size + 1, size)]
    rng.shuffle(batches)
    return batches


def batch_stream(
    examples: Sequence[Example], size: int, *, seed: int, one_source_share: float = 0.5, start: int = 0
) -> Iterator[list[int]]:
    """Endless batches over the epochs; `start` skips so many, which is how a resumed run finds its place."""
    epoch, skip = 0, start
    while True:
        batches = epoch_batches(examples, size, epoch=epoch, seed=seed, one_source_share=one_source_share)
        yield from batches[skip:]
        skip = max(0, skip - len(batches))
        epoch += 1
