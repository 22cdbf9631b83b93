"""The engine's folder and a shard in, the shard rebuilt: the script that `EdgeStore.compact` runs in a child process.

It imports the engine alone, so that starting it costs little.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    engine_folder, shard_path = sys.argv[1:]
    sys.path.append(engine_folder)  # which the parent may have found by means that a child does not inherit
    import qdrant_edge

    shard = qdrant_edge.EdgeShard.load(shard_path)
    shard.optimize()
    shard.flush()
    shard.close()
