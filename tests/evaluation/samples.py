"""A small judged collection, as files and as values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DOCUMENTS = {
    "cat": "the cat sat on the mat",
    "dog": "a dog chased the red cat",
    "apple": "a red apple and a green pear",
    "keys": "rotate the vault keys and the secret keys",
    "pear": "a pear is green",
}
QUERIES = {"q1": "red cat", "q2": "green pear", "q3": "rotate keys"}
QRELS = {"q1": {"dog": 2, "cat": 1}, "q2": {"apple": 1, "pear": 2}, "q3": {"keys": 1}}


def jsonl(records: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def write_folder(folder: Path, **texts: str) -> Path:
    """A BEIR folder; `texts` replaces the text of a file, by its name without the ending."""
    folder.mkdir(parents=True, exist_ok=True)
    judged = [f"{query}\t{id}\t{grade}\n" for query, grades in QRELS.items() for id, grade in grades.items()]
    files = {
        "corpus.jsonl": jsonl({"_id": id, "title": "", "text": text} for id, text in DOCUMENTS.items()),
        "queries.jsonl": jsonl({"_id": id, "text": text} for id, text in QUERIES.items()),
        "qrels.tsv": "query-id\tcorpus-id\tscore\n" + "".join(judged),
    }
    for name, text in files.items():
        (folder / name).write_text(texts.get(name.split(".")[0], text), encoding="utf-8")
    return folder
