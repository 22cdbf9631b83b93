"""tercet's integrations beside langchain-qdrant and llama-index-vector-stores-qdrant: the same checks on all.

`python benchmarks/compare.py` runs the checks, `… --timing` the timings (alone on the machine); each writes its result
and docs/comparison.md's tables from all results. `… --only WORD` shows the cells of rows whose label has the word.
"""

from __future__ import annotations

import logging
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import machine
from comparison import checks, contestants, timings
from comparison.corpus import RememberingEncoder
from tables import filled, load, table

DOCUMENT = Path(__file__).parent.parent / "docs" / "comparison.md"
PACKAGES = ("langchain-core", "langchain-tests", "llama-index-core", "qdrant-client", "qdrant-edge-py")


def versions() -> dict[str, str]:
    compared = {kind.package for kind in contestants.CONTESTANTS}
    return {package: version(package) for package in sorted({*compared, *PACKAGES})}


def run_checks(only: str = "") -> dict[str, dict[str, dict[str, str]]]:
    """{group: {row: {column: cell}}}"""
    encoder = RememberingEncoder()
    result: dict[str, dict[str, dict[str, str]]] = {}
    for group, rows in checks.ROWS.items():
        for row in rows:
            if only in row.label:
                cells = {kind.column: checks.cell(row.check, kind(encoder)) for kind in contestants.CONTESTANTS}
                result.setdefault(group, {})[row.label] = cells
                print(row.label, *(f"    {column:28} {cell}" for column, cell in cells.items()), sep="\n", flush=True)
    return result


def checked() -> str:
    result = load("compare")
    return "\n\n".join(
        table(
            [group, *(kind.column for kind in contestants.CONTESTANTS)],
            [[label, *cells.values()] for label, cells in rows.items()],
        )
        for group, rows in result["checks"].items()
    )


def timed() -> str:
    """Each figure with its ratio to tercet's in the same framework."""
    result = load("compare_timing")["timings"]
    ours = {kind.framework: kind.column for kind in contestants.CONTESTANTS if "tercet" in kind.package}
    rows: list[list[object]] = []
    for name, figures in result.items():
        cells = [
            f"{figures[kind.column]:,.{_decimals(figures[kind.column])}f} · "
            f"{figures[kind.column] / figures[ours[kind.framework]]:.2g} ×"
            for kind in contestants.CONTESTANTS
        ]
        rows.append([name, *cells])
    return table(["", *(kind.column for kind in contestants.CONTESTANTS)], rows)


def _decimals(figure: float) -> int:
    return 0 if figure >= 100 else 1 if figure >= 10 else 2


def compared_versions() -> str:
    result = load("compare")["versions"]
    return ", ".join(f"{package} {number}" for package, number in result.items())


TABLES = {"versions": compared_versions, "checks": checked, "timings": timed}


def main(words: list[str]) -> None:
    # What a user would read once is told for every store that is made here.
    warnings.filterwarnings("ignore", message="Payload indexes have no effect in the local Qdrant")
    warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")  # over loopback
    logging.getLogger("llama_index.vector_stores.qdrant").setLevel(logging.ERROR)
    match words:
        case ["child", task, kind, place]:
            checks.as_child(task, getattr(contestants, kind)(RememberingEncoder()), Path(place))
            return
        case ["--only", word]:
            run_checks(word)
            return
        case ["--timing"]:
            machine.write("compare_timing", {"versions": versions(), "timings": timings.run()})
        case []:
            machine.write("compare", {"versions": versions(), "checks": run_checks()})
        case _:
            raise SystemExit(__doc__)
    DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8"), TABLES), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
