"""Training data: JSONL files in, checked examples out, and the batches of every step."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tercet.errors import InvalidTrainingData

#: Bad lines that a message lists; the rest is counted.
SHOWN_PROBLEMS = 20


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
        record: dict[str, Any] = {"query": self.query, "positive": self.positive}
        if self.negatives:
            record["negatives"] = self.negatives
        if self.scores:
            record["scores"] = self.scores
        return json.dumps(record, ensure_ascii=False)


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
    files = list(_files([paths] if isinstance(paths, str | Path) else paths))
    problems: list[str] = []
    examples: list[Example] = []
    for path in files:
        for place, line in _lines(path, problems):
            found = _example(line, path.stem, negatives=negatives, scores=scores)
            if isinstance(found, Example):
                examples.append(found)
            else:
                problems.append(f"{place}: {found}")
    if problems:
        shown = problems[:SHOWN_PROBLEMS]
        if more := len(problems) - len(shown):
            shown.append(f"and {more:,} more")
        raise InvalidTrainingData("these lines cannot be learnt from; nothing was trained:\n  " + "\n  ".join(shown))
    if not examples:
        names = ", ".join(map(str, files))
        raise InvalidTrainingData(f"no example in {names}; each line is a JSON object with a query and a positive")
    return examples


def write_examples(path: str | Path, examples: Iterable[Example]) -> None:
    """Write what `read_examples` reads."""
    Path(path).write_text("".join(example.to_json() + "\n" for example in examples), encoding="utf-8")


def _files(paths: Iterable[str | Path]) -> Iterator[Path]:
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = sorted(path.glob("*.jsonl"))
            if not inside:
                raise InvalidTrainingData(f"the folder {path} holds no .jsonl file")
            yield from inside
        elif path.is_file():
            yield path
        else:
            raise InvalidTrainingData(f"there is no file {path}")


def _lines(path: Path, problems: list[str]) -> Iterator[tuple[str, str]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            place = f"{path}:{number}"
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                problems.append(f"{place}: is not UTF-8 ({error.reason} at byte {error.start})")
                continue
            if text.strip():
                yield place, text


def _example(line: str, source: str, *, negatives: int, scores: bool) -> Example | str:
    """The example of one line, or what is wrong with it."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        return f"is not JSON ({error.msg} at column {error.colno})"
    if not isinstance(record, dict):
        return f"is {_kind(record)}, expected an object with query and positive"
    if wrong := _wrong_text(record, "query") or _wrong_text(record, "positive"):
        return wrong
    query, positive = record["query"].strip(), record["positive"].strip()
    others = record.get("negatives", [])
    if "negative" in record and "negatives" not in record:
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
    values = record.get("scores", [])
    if not isinstance(values, list) or not all(_is_number(value) for value in values):
        return "its scores are no list of finite numbers"
    if values and len(values) != 1 + len(others):
        return (
            f"has {_count(len(values), 'score')} for 1 positive and {_count(len(others), 'negative')}; "
            f"expected {1 + len(others)}, the positive's first"
        )
    if scores and not values:
        return "has no scores; label the file with a teacher, or train without margin_mse and kl_divergence"
    return Example(query, positive, tuple(others), tuple(map(float, values)), source)


def _wrong_text(record: Mapping[str, Any], side: str) -> str | None:
    if side not in record:
        return f"has no {side}; its keys are {', '.join(sorted(map(str, record))) or 'none'}"
    value = record[side]
    if not isinstance(value, str):
        return f"its {side} is {_kind(value)}, expected text"
    return None if value.strip() else f"its {side} is empty"


def _kind(value: object) -> str:
    names = {list: "a list", dict: "an object", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


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
