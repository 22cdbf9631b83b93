"""What do smaller token vectors cost? Merging × bits on judged collections: bytes, nDCG@10, time of a rerank.

    python benchmarks/storage.py FOLDER [FOLDER …]

A folder is a collection in BEIR's form. Each is encoded once, then stored in every way and asked every query.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import machine

from tercet import HybridIndex, StorageOptions
from tercet.encoders.base import EncoderSpec
from tercet.encoders.mini import MiniEncoder
from tercet.evaluation import JudgedCollection, read_collection, score
from tercet.merging import merge_tokens
from tercet.storage import LateBits
from tercet.types import LATE, Embedding, Ranking

MERGING = (1, 2, 3)
TIMED_QUERIES = 100
TIMED_DOCUMENTS = 200


class Remembering:
    """An encoder that makes each text's embedding once. Implements `tercet.encoders.base.Encoder`."""

    def __init__(self, encoder: MiniEncoder) -> None:
        self.encoder = encoder
        self.documents: dict[str, Embedding] = {}
        self.queries: dict[str, Embedding] = {}

    @property
    def spec(self) -> EncoderSpec:
        return self.encoder.spec

    def encode_documents(self, documents: Iterable[str]) -> Iterator[Embedding]:
        texts = list(documents)
        new = [text for text in dict.fromkeys(texts) if text not in self.documents]
        self.documents.update(zip(new, self.encoder.encode_documents(new), strict=True))
        return (self.documents[text] for text in texts)

    def encode_query(self, query: str) -> Embedding:
        if query not in self.queries:
            self.queries[query] = self.encoder.encode_query(query)
        return self.queries[query]

    def encode_queries(self, queries: Sequence[str]) -> list[Embedding]:
        return [self.encode_query(query) for query in queries]

    def terms(self, indices: Iterable[int]) -> list[str]:
        return self.encoder.terms(indices)


def measure(collection: JudgedCollection, encoder: Remembering, storage: StorageOptions) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "index"
        with HybridIndex.open(folder, encoder=encoder, storage=storage) as index:
            count = len(index.add(collection.documents, progress=False).added)
            index.compact()
            traces = dict(zip(collection.queries, index.rankings(list(collection.queries.values())), strict=True))
            runs: dict[str, dict[str, Ranking]] = {
                stage: {query: trace[stage] for query, trace in traces.items()} for stage in (LATE, "final")
            }
            seconds = []
            for query, text in itertools.islice(collection.queries.items(), TIMED_QUERIES):
                keys = [index.store.key(scored.id) for scored in traces[query][LATE]]
                asked = [(encoder.encode_query(text).multi_vector, keys)]
                started = time.perf_counter()
                index.store.rerank(asked)
                seconds.append(time.perf_counter() - started)
        return {
            **{
                f"nDCG@10 {stage}": score(run, collection.qrels, ["nDCG@10"]).mean["nDCG@10"]
                for stage, run in runs.items()
            },
            "bytes late": _bytes(folder, "vector_storage-late") / count,
            "bytes all": (_bytes(folder, "") - _bytes(folder, "wal")) / count,
            "milliseconds rerank": 1000 * statistics.median(seconds),
        }


def _bytes(folder: Path, name: str) -> int:
    """What the files lying below folders of this name take; "" is all of them. Files may have holes."""
    files = (file for file in folder.rglob("*") if file.is_file() and (not name or name in file.parts))
    return sum(file.stat().st_blocks * 512 for file in files)


def milliseconds_to_merge(encoder: Remembering) -> dict[str, float]:
    """Of one passage, and how many tokens they have."""
    vectors = [embedding.multi_vector for embedding in itertools.islice(encoder.documents.values(), TIMED_DOCUMENTS)]
    figures = {"tokens": statistics.mean(len(each.vectors) for each in vectors)}
    for factor in MERGING[1:]:
        seconds = []
        for each in vectors:
            started = time.perf_counter()
            merge_tokens(each, factor)
            seconds.append(time.perf_counter() - started)
        figures[f"× {factor}"] = 1000 * statistics.median(seconds)
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    folders = parser.parse_args().folders
    model = MiniEncoder()
    results: dict[str, object] = {}
    for folder in folders:
        collection, encoder = read_collection(folder), Remembering(model)
        figures = {}
        for bits, factor in itertools.product(get_args(LateBits), MERGING):
            made = measure(collection, encoder, StorageOptions(merge_tokens=factor, late_bits=bits))
            base = figures.setdefault("milliseconds", made["milliseconds rerank"])
            made["time of a rerank"] = made.pop("milliseconds rerank") / base
            figures[f"merged × {factor}, {bits} bits"] = {name: round(value, 4) for name, value in made.items()}
            print(folder.name, f"× {factor}, {bits} bits", json.dumps(made), flush=True)
        figures.pop("milliseconds")
        results[folder.name] = {
            "passages": len(collection.documents),
            "queries": len(collection.queries),
            "milliseconds to merge a passage": milliseconds_to_merge(encoder),
            "storage": figures,
        }
    machine.write("storage", {"model": model.config.name, "collections": results})


if __name__ == "__main__":
    main()
