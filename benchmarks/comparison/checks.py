"""One store in, one cell out: "yes", "no: why", a value, or "–" where the framework has no such thing.

Every check fills a store of its own and asks it what a user would ask. An exception that a check does not expect is a
"no" with its message.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from comparison.contestants import Contestant, LangChain, LlamaIndex, LlamaIndexQdrant
from comparison.corpus import QUERIES, Passage, passages

COMPARE = Path(__file__).parent.parent / "compare.py"
YES, NONE = "yes", "–"
ADDED = 50  # documents that a child adds for the next to find

Check = Callable[[Contestant], str]


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    check: Check


ROWS: dict[str, list[Row]] = {}


def row(group: str, label: str) -> Callable[[Check], Check]:
    def note(check: Check) -> Check:
        ROWS.setdefault(group, []).append(Row(label, check))
        return check

    return note


def cell(check: Check, contestant: Contestant) -> str:
    try:
        return check(contestant)
    except Exception as error:  # noqa: BLE001 whatever a store raises is its answer
        return f"no: {told(error)}"
    finally:
        closed(contestant)


def closed(contestant: Contestant) -> None:
    if contestant.native is not None:
        contestant.close()
        contestant.native = None


def told(error: BaseException, *, length: int = 90) -> str:
    """An error in one short line, without the places of this machine."""
    text = re.sub(r"\s+", " ", f"{type(error).__name__}: {error}")
    text = re.sub(r"/\S*/", "…/", text).replace("|", "/")
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


@contextmanager
def filled(contestant: Contestant, given: list[Passage], place: Path | None = None) -> Iterator[None]:
    contestant.open(place)
    contestant.add(given)
    try:
        yield
    finally:
        closed(contestant)


def verdict(right: bool, otherwise: str) -> str:
    return YES if right else f"no: {otherwise}"


# --- the frameworks' contracts ---


@row("Contract", "LangChain's standard suite for vector stores (langchain-tests 1.1.9), passed")
def standard_suite(contestant: Contestant) -> str:
    """Run whole by pytest."""
    if not isinstance(contestant, LangChain):
        return NONE
    suite = Path(__file__).parent / "standard_suite.py"
    command = [sys.executable, "-m", "pytest", str(suite), "-p", "no:cacheprovider", "-q", "-o", "asyncio_mode=auto"]
    command += ["--rootdir", str(suite.parent), "-c", os.devnull]
    places = [str(COMPARE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "COMPARED": type(contestant).__name__, "PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    counted = {kind: int(count) for count, kind in re.findall(r"(\d+) (passed|failed|error|xfailed)", done.stdout)}
    if "passed" not in counted:
        raise RuntimeError(f"the suite did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return f"{counted['passed']} of {sum(counted.values())}"


@row("Contract", "any string as id")
def any_string_as_id(contestant: Contestant) -> str:
    """Ids with slashes, spaces, other scripts go in, and the same ids are found by `get`."""
    ids = ["guide/keys#1", "with space", "ключ", "42"]
    contestant.open()
    contestant.add([Passage(id_, p.text, p.metadata) for id_, p in zip(ids, passages(4), strict=True)])
    found = sorted(str(one.id) for one in contestant.get(ids))
    return verdict(found == sorted(ids), f"get found {found}")


@row("Contract", "hits carry their id")
def ids_kept(contestant: Contestant) -> str:
    """A search's documents have the id they were added with, where the framework keeps it: `Document.id`, `node_id`."""
    given = passages(20)
    with filled(contestant, given):
        ids = {found.id for found in contestant.search(QUERIES[0], 5)}
    return verdict(ids <= {passage.id for passage in given}, f"the id is {next(iter(ids))}")


@row("Contract", "metadata come back as they went in")
def metadata_as_given(contestant: Contestant) -> str:
    """By `get` or LlamaIndex's get_nodes: nested, listed, without additions."""
    given = Passage(
        passages(1)[0].id, "a text", {"author": {"name": "Ada"}, "tags": ["a", "b"], "year": 1843, "n": None}
    )
    with filled(contestant, [given]):
        [found] = contestant.get([given.id])
    added = sorted(set(found.metadata) - set(given.metadata))
    return verdict(found.metadata == given.metadata, f"with {', '.join(added) or found.metadata}")


@row("Contract", "adding under a known id replaces")
def update_by_id(contestant: Contestant) -> str:
    first, *_ = given = passages(10)
    with filled(contestant, given):
        contestant.add([Passage(first.id, "an entirely new text", {"module": "new"})])
        texts = [found.text for found in contestant.search("an entirely new text", 10)]
    return verdict(
        "an entirely new text" in texts and first.text not in texts and len(texts) == 10, "the old text stays"
    )


@row("Contract", "delete by id")
def delete_by_id(contestant: Contestant) -> str:
    given = passages(10)
    with filled(contestant, given):
        contestant.delete([given[0].id, given[1].id])
        left = {found.text for found in contestant.search(QUERIES[0], 10)}
    return verdict(left == {passage.text for passage in given[2:]}, f"{len(left)} of 10 left")


@row("Contract", "`add_texts` from a generator stores")
def from_a_generator(contestant: Contestant) -> str:
    """LangChain's signature takes any iterable; LlamaIndex's a list."""
    if not isinstance(contestant, LangChain):
        return NONE
    contestant.open()
    contestant.native.add_texts(passage.text for passage in passages(5))
    return f"{len(contestant.search(QUERIES[0], 10))} of 5"


@row("Contract", "`delete()` or `delete_nodes()` that names nothing")
def delete_nothing(contestant: Contestant) -> str:
    """LangChain's interface says that it deletes all, LlamaIndex's says nothing."""
    with filled(contestant, passages(10)):
        try:
            contestant.delete_nothing_named()
        except Exception as error:  # noqa: BLE001 a refusal is an answer
            refusal = f"refused ({type(error).__name__})"
        else:
            refusal = ""
        left = len(contestant.search(QUERIES[0], 10))
    return refusal or {0: "deletes everything", 10: "deletes nothing"}[left]


@row("Contract", "no API key in `repr`, `to_dict` or a dump")
def no_secret(contestant: Contestant) -> str:
    """Over a double of a Qdrant server on this machine."""
    sys.path.insert(0, str(COMPARE.parent.parent))
    try:
        from tests.store.rest_double import RestDouble
    finally:
        sys.path.pop(0)
    with RestDouble() as server:
        written = contestant.written_down(contestant.on_server(server.url, "the-secret-key"))
    return verdict(not any("the-secret-key" in text for text in written), "the key is written out")


# --- filters ---


@row("Filters", "a filter from a plain dict")
def plain_filter(contestant: Contestant) -> str:
    """For LlamaIndex, its own `MetadataFilters.from_dict`."""
    with filled(contestant, passages(250)):
        modules = {found.metadata["module"] for found in contestant.search_plain(QUERIES[0], 5, {"module": "json"})}
    return verdict(modules == {"json"}, f"found {sorted(modules)}")


@row("Filters", "a `qdrant_client.models.Filter`")
def qdrant_filter(contestant: Contestant) -> str:
    from qdrant_client import models

    key = "metadata.module" if isinstance(contestant, LangChain) else "module"
    native = models.Filter(must=[models.FieldCondition(key=key, match=models.MatchValue(value="json"))])
    with filled(contestant, passages(250)):
        modules = {found.metadata["module"] for found in contestant.search_qdrant(QUERIES[0], 5, native)}
    return verdict(modules == {"json"}, f"found {sorted(modules)}")


@row("Filters", "five hits where only five of 250 match")
def rare_filter(contestant: Contestant) -> str:
    """The filter holds inside every stage, and is no sieve of a few candidates."""
    given = [
        Passage(p.id, p.text, {"rare": "yes" if place % 50 == 49 else "no"}) for place, p in enumerate(passages(250))
    ]
    with filled(contestant, given):
        found = [len(contestant.search(query, 5, {"rare": "yes"})) for query in QUERIES]
    return verdict(min(found) == 5, f"{min(found)} hits")


@row("Filters", "LlamaIndex's 14 operators, answered right")
def operators(contestant: Contestant) -> str:
    """Each by a small table whose right answers stand here."""
    if not isinstance(contestant, LlamaIndex):
        return NONE
    from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters

    table: list[dict[str, Any]] = [
        {"name": "a", "year": 2020, "lang": "en", "tags": ["x", "y"], "title": "Key rotation"},
        {"name": "b", "year": 2022, "lang": "de", "tags": ["y"], "title": "rotating wheels"},
        {"name": "c", "year": 2024, "lang": "en", "tags": ["z"], "title": "Soup of the day"},
        {"name": "d", "year": 2024, "lang": "fr", "tags": []},
    ]
    right: dict[FilterOperator, tuple[str, Any, str]] = {
        FilterOperator.EQ: ("lang", "en", "ac"),
        FilterOperator.NE: ("lang", "en", "bd"),
        FilterOperator.GT: ("year", 2022, "cd"),
        FilterOperator.LT: ("year", 2022, "a"),
        FilterOperator.GTE: ("year", 2022, "bcd"),
        FilterOperator.LTE: ("year", 2022, "ab"),
        FilterOperator.IN: ("lang", ["en", "fr"], "acd"),
        FilterOperator.NIN: ("lang", ["en", "fr"], "b"),
        FilterOperator.ANY: ("tags", ["x", "z"], "ac"),
        FilterOperator.ALL: ("tags", ["x", "y"], "a"),
        FilterOperator.CONTAINS: ("tags", "y", "ab"),
        FilterOperator.TEXT_MATCH: ("title", "rotation", "a"),
        FilterOperator.TEXT_MATCH_INSENSITIVE: ("title", "ROTATION", "a"),
        FilterOperator.IS_EMPTY: ("tags", None, "d"),
    }
    given = [Passage(p.id, p.text, metadata) for p, metadata in zip(passages(4), table, strict=True)]
    wrong = []
    with filled(contestant, given):
        for operator, (key, value, expected) in right.items():
            filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])
            try:
                hits = contestant.search(QUERIES[0], 4, filters=filters)
            except Exception:  # noqa: BLE001 an operator that is not there
                wrong.append(operator.name)
                continue
            if "".join(sorted(found.metadata["name"] for found in hits)) != expected:
                wrong.append(operator.name)
    return f"{len(right) - len(wrong)}" + (f" (not {', '.join(wrong)})" if wrong else "")


@row("Filters", "a filter that is empty")
def empty_filter(contestant: Contestant) -> str:
    """An empty one may be what is left of a tenant's: it is said to be wrong, or is as none."""
    with filled(contestant, passages(10)):
        try:
            found = len(contestant.search_empty_filter(QUERIES[0], 10))
        except Exception as error:  # noqa: BLE001 a refusal is an answer
            return f"refused ({type(error).__name__})"
    return {10: "as none", 0: "matches nothing"}.get(found, f"{found} of 10")


@row("Filters", "a misspelt name (`filtre=`) is refused")
def misspelt(contestant: Contestant) -> str:
    """Dropped in silence, it shows documents that the filter was to hide."""
    with filled(contestant, passages(250)):
        try:
            modules = {found.metadata["module"] for found in contestant.search_misspelt(QUERIES[0], 5)}
        except Exception as error:  # noqa: BLE001 a refusal is what is asked for
            return f"yes ({type(error).__name__})"
    return verdict(modules == {"json"}, "dropped in silence")


# --- ranking ---


@row("Ranking", "the same query, the same order")
def same_order(contestant: Contestant) -> str:
    """Ten queries, five times each, over passages of which many are equal."""
    given = passages(100)
    twins = [Passage(_other(passage.id), passage.text, passage.metadata) for passage in given]
    with filled(contestant, given + twins):
        orders = [{tuple(f.known_id for f in contestant.search(query, 10)) for _ in range(5)} for query in QUERIES]
    changing = sum(len(order) > 1 for order in orders)
    return verdict(changing == 0, f"it changes for {changing} of {len(QUERIES)}")


@row("Ranking", "the first hit does not depend on how many are asked for")
def first_hit(contestant: Contestant) -> str:
    """k = 1 against k = 50, with the documented option for a larger pool where there is one."""
    with filled(contestant, passages(250)):
        same = sum(contestant.wide(query, 1)[0].text == contestant.wide(query, 50)[0].text for query in QUERIES)
    return verdict(same == len(QUERIES), f"the same in {same} of {len(QUERIES)} queries")


@row("Ranking", "weights of dense and sparse")
def weights(contestant: Contestant) -> str:
    """All weight on one side gives that side's own first five, in its order (computed here)."""
    given = passages(250)
    wrong = []
    with filled(contestant, given):
        for side, share in (("dense", 1.0), ("sparse", 0.0)):
            for query in QUERIES:
                try:
                    found = [one.text for one in contestant.ranked_by(query, 10, dense=share)]
                except NotImplementedError:
                    return NONE
                best = _best(contestant, query, given, side)[:5]
                if found[: len(best)] != best:
                    wrong.append(side)
    counts = " and ".join(f"{wrong.count(side)} of 10 by {side}" for side in dict.fromkeys(wrong))
    return f"no: {counts} differ" if wrong else YES + contestant.weights_note


def _other(id_: str) -> str:
    """A UUID beside another."""
    return id_[:-1] + ("1" if id_.endswith("0") else "0")


def _best(contestant: Contestant, query: str, given: list[Passage], side: str) -> list[str]:
    """The ten best texts by one head, by brute force; fewer where fewer share a term."""
    asked = contestant.encoder.encode_query(query)
    scores = []
    for passage, made in zip(given, contestant.encoder.encode_documents(p.text for p in given), strict=True):
        if side == "dense":
            score = float(made.dense @ asked.dense)
        else:
            terms = dict(zip(made.sparse.indices.tolist(), made.sparse.values.tolist(), strict=True))
            weighted = zip(asked.sparse.indices.tolist(), asked.sparse.values.tolist(), strict=True)
            score = sum(weight * terms.get(index, 0.0) for index, weight in weighted)
        if side == "dense" or score > 0:
            scores.append((score, passage.text))
    return [text for _, text in sorted(scores, key=lambda pair: -pair[0])[:10]]


@row("Ranking", "alpha = 0 is heard by `query` and by `aquery`")
def alpha_zero(contestant: Contestant) -> str:
    """LlamaIndex: alpha = 0 is sparse alone. Both must differ from alpha = 0.5 and agree."""
    if not isinstance(contestant, LlamaIndex):
        return NONE
    given = passages(100)
    contestant.open()

    async def both() -> tuple[list[list[str]], list[list[str]]]:
        contestant.add(given)
        if isinstance(contestant, LlamaIndexQdrant):
            await contestant.aadd(given)
        blocking = [[f.text for f in contestant.ranked_by(query, 10, dense=0.0)] for query in QUERIES]
        return blocking, [[f.text for f in await contestant.aranked_by(query, 10, dense=0.0)] for query in QUERIES]

    blocking, waiting = asyncio.run(both())
    right = [_best(contestant, query, given, "sparse")[:5] for query in QUERIES]
    heard = {
        name: sum(order[: len(best)] == best for order, best in zip(orders, right, strict=True))
        for name, orders in (("query", blocking), ("aquery", waiting))
    }
    deaf = [f"not by {name}" for name, count in heard.items() if count < len(QUERIES)]
    return verdict(not deaf, ", ".join(deaf))


@row("Ranking", "MMR: 1 is nearest, 0 most diverse")
def mmr(contestant: Contestant) -> str:
    """The framework's own number. 1 gives the dense order; 0 passes over a twin of the first hit."""
    given = passages(60)
    query = QUERIES[0]
    first, *_ = _best(contestant, query, given, "dense")
    twin = Passage(_other(given[0].id), first + " ", {"module": "twin"})
    everything = [*given, twin]
    with filled(contestant, everything):
        nearest = [found.text.strip() for found in contestant.diverse(query, 3, lambda_mult=1.0)]
        diverse = [found.text.strip() for found in contestant.diverse(query, 2, lambda_mult=0.0)]
    by_hand = [text.strip() for text in _best(contestant, query, everything, "dense")[:3]]
    if len(set(diverse)) == 2:
        return verdict(nearest == by_hand, "1 is not the nearest")
    return "no: the other way round" if len(set(nearest[:2])) == 2 else "no: MMR is passed over"


@row("Ranking", "relevance between 0 and 1: best of a related · an unrelated query")
def relevance(contestant: Contestant) -> str:
    """By LangChain's similarity_search_with_relevance_scores and LlamaIndex's score of a node."""
    with filled(contestant, passages(250)):
        related = contestant.relevances(QUERIES[4], 5)
        unrelated = contestant.relevances("grandmother's recipe for plum cake", 5)
    text = f"{max(related):.2f} · {max(unrelated):.2f}"
    return text if all(0 <= score <= 1 for score in related + unrelated) else f"no: {text}"


@row("Ranking", "scores of the single stages on a hit")
def stage_scores(contestant: Contestant) -> str:
    """Looked for in everything that a search returns."""
    stages = _stages(contestant)
    return f"yes: {', '.join(stages)}" if len(stages) > 1 else "no: one score"


@row("Ranking", "late interaction (ColBERT) takes part")
def late_interaction(contestant: Contestant) -> str:
    """By the store itself, and not by a model that is put behind it."""
    return verdict("late" in _stages(contestant), "by another package")


def _stages(contestant: Contestant) -> list[str]:
    with filled(contestant, passages(50)):
        text = json.dumps([hit.model_dump() for hit in contestant.explained(QUERIES[0], 10)], default=str)
    return [stage for stage in ("dense", "sparse", "fused", "late") if f'"{stage}"' in text]


# --- the embedded engine ---


def child(contestant: Contestant, task: str, place: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(COMPARE), "child", task, type(contestant).__name__, str(place)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe)


def output(process: subprocess.Popen[str]) -> str:
    told_, errors = process.communicate(timeout=300)
    if process.returncode:
        raise RuntimeError(errors.strip().splitlines()[-1])
    return told_


@row("Embedded", "a directory outlives its process")
def restart(contestant: Contestant) -> str:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "kb"
        output(child(contestant, "add", place))
        found = int(output(child(contestant, "look", place)))
    return verdict(found == ADDED, f"{found} of {ADDED} documents")


@row("Embedded", "a second process gets a clear error")
def second_process(contestant: Contestant) -> str:
    """One that says that another has the directory open."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "kb"
        holder = child(contestant, "hold", place)
        if holder.stdout.readline() != "open\n":
            output(holder)  # raises what it died of
        try:
            output(child(contestant, "look", place))
        except RuntimeError as error:
            last = str(error)
        else:
            last = ""
        finally:
            holder.kill()
            holder.communicate()
    kind = last.split(":")[0].split(".")[-1]
    clear = any(word in last for word in ("already", "in use", "another process"))
    return f"yes ({kind})" if clear else f"no: {kind or 'it opens, and both write'}"


@row("Embedded", "kill -9 in the middle of adding loses")
def killed(contestant: Contestant) -> str:
    """Three times; of the documents that `add` had returned for, those that are not there afterwards."""
    acknowledged = lost = 0
    for seed in range(3):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "kb"
            writer = child(contestant, "write", place)
            told_ = [writer.stdout.readline() for _ in range(random.Random(seed).randint(2, 6))]
            time.sleep(random.Random(seed).uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
            told_ += (writer.communicate()[0]).splitlines(keepends=True)
            ids = [id_ for line in told_ if line.endswith("\n") for id_ in json.loads(line)]
            if not ids:
                raise RuntimeError("nothing was added before the kill")
            contestant.open(place)
            found = {one.known_id for one in contestant.get(ids)}
            closed(contestant)
            acknowledged += len(ids)
            lost += len(set(ids) - found)
    return f"{lost} of {acknowledged}"


@row("Embedded", "torch stays out")
def no_torch(contestant: Contestant) -> str:
    """Of a process that imports the integration, adds and searches, with vectors by tercet's heads."""
    with tempfile.TemporaryDirectory() as folder:
        return output(child(contestant, "torch", Path(folder) / "kb")).strip()


# --- what the children do ---


def as_child(task: str, contestant: Contestant, place: Path) -> None:
    given = passages(250)
    if task == "write":
        # The model's time is not what is looked at: all vectors are made before the first write.
        given = given[:80]
        list(contestant.encoder.encode_documents(passage.text for passage in given))
    contestant.open(place)
    match task:
        case "add":
            contestant.add(given[:ADDED])
            contestant.close()
        case "look":
            print(len(contestant.get([passage.id for passage in given[:ADDED]])))
        case "hold":
            contestant.add(given[:10])
            print("open", flush=True)
            sys.stdin.read()
        case "write":
            for start, end in pairwise(range(0, len(given), 8)):
                contestant.add(given[start:end])
                os.write(1, (json.dumps([passage.id for passage in given[start:end]]) + "\n").encode())
        case "torch":
            contestant.add(given[:10])
            contestant.search(QUERIES[0], 3)
            print("no: it is imported" if "torch" in sys.modules else YES)
