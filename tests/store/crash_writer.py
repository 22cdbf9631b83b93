"""Writes batches to the index at argv[1] and tells each that is acknowledged, until it is killed."""

from __future__ import annotations

import itertools
import sys

from tercet.store.edge import EdgeStore
from tests.store.samples import SPEC, record

if __name__ == "__main__":
    store = EdgeStore.open(sys.argv[1], SPEC)
    for batch in itertools.count():
        store.upsert([record(f"{batch}-{n}") for n in range(20)])
        sys.stdout.write(f"{batch}\n")
        sys.stdout.flush()
