"""A shard's path in, the shard rebuilt: the script that `EdgeStore.compact` runs in a process of its own.

It imports the engine alone, so that starting it costs little.
"""

from __future__ import annotations

import sys

import qdrant_edge

if __name__ == "__main__":
    shard = qdrant_edge.EdgeShard.load(sys.argv[1])
    shard.optimize()
    shard.flush()
    shard.close()
