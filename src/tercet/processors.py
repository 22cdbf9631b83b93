"""How many processors this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    # In a container or under taskset, cpu_count names cores that this process may not use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
