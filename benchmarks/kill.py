"""Is anything acknowledged lost when `add` is killed? Twenty times kill -9 in the middle, then a look."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

from tercet import HybridIndex
from tercet.reading.stdlib import read_standard_library

KILLS = 20
DOCUMENTS = 400
MODULES = (
    "argparse",
    "collections",
    "datetime",
    "difflib",
    "email",
    "functools",
    "json",
    "logging",
    "pathlib",
    "threading",
)


def add_and_tell(place: str) -> None:
    """The child: add in small steps, and write down each step's ids when `add` has returned."""
    with HybridIndex.open(place) as index:
        documents = list(read_standard_library(MODULES))[:DOCUMENTS]
        for start in range(0, len(documents), 16):
            report = index.add(documents[start : start + 16])
            os.write(1, (json.dumps(report.added) + "\n").encode())


def kill_once(seed: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "kb")
        told = Path(folder) / "told"
        with told.open("wb") as stream:
            child = subprocess.Popen([sys.executable, __file__, "child", place], stdout=stream)
        while not told.stat().st_size:  # until the first step is acknowledged
            time.sleep(0.01)
        time.sleep(random.Random(seed).uniform(0, 3))
        child.send_signal(signal.SIGKILL)
        child.wait()
        acknowledged = [
            id_
            for line in told.read_bytes().splitlines(keepends=True)
            if line.endswith(b"\n")
            for id_ in json.loads(line)
        ]
        documents = {document.id: document for document in list(read_standard_library(MODULES))[:DOCUMENTS]}
        with HybridIndex.open(place) as index:
            kept = {document.id: document.text for document in index.get(acknowledged)}
            lost = [id_ for id_ in acknowledged if kept.get(id_) != documents[id_].text]
            before = index.count()
            report = index.add(documents.values())
            return {
                "acknowledged": len(acknowledged),
                "found after the kill": before,
                "lost": len(lost),
                "second add": str(report),
                "duplicates": index.count() - len(documents),
                "whole": index.count() == len(documents) == len(report.added) + len(report.skipped),
            }


def main() -> None:
    runs = []
    for seed in range(KILLS):
        runs.append(kill_once(seed))
        print(seed + 1, runs[-1], flush=True)
    figures = {
        "kills": KILLS,
        "killed before the end": sum(run["acknowledged"] < DOCUMENTS for run in runs),
        "acknowledged documents": sum(int(str(run["acknowledged"])) for run in runs),
        "lost": sum(int(str(run["lost"])) for run in runs),
        "duplicates": sum(int(str(run["duplicates"])) for run in runs),
        "indexes that opened and were completed": sum(bool(run["whole"]) for run in runs),
    }
    print(figures)
    machine.write("kill", {**figures, "runs": runs})


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        add_and_tell(sys.argv[2])
    else:
        main()
