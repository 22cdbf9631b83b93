"""What every result names: the machine, the versions, the moment; and where results go."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("tercet", "onnxruntime", "numpy", "qdrant-edge-py", "qdrant-client", "tokenizers")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8")


def describe() -> dict[str, object]:
    details = Path("/proc/cpuinfo")
    lines = details.read_text().splitlines() if details.exists() else []
    processor = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor,
        "cores": cores,
        "instruction sets": [flag for flag in FLAGS if flag in flags],
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": " ".join(
            [
                "python",
                "benchmarks/" + Path(sys.argv[0]).name,
                *("DATA" if Path(word).is_dir() else word for word in sys.argv[1:]),
            ]
        ),
    }


def write(name: str, figures: Mapping[str, object]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(
        json.dumps({"machine": describe(), **figures}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(f"wrote {path.relative_to(Path(__file__).parent.parent)}")
