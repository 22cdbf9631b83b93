"""Results in, tables out: `python benchmarks/tables.py` writes them between the markers of `PAGES`.

A test compares them, so no figure in the README can differ from a committed result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
STAGES = (
    "BM25",
    "dense",
    "sparse",
    "late alone",
    "fused (dense + sparse)",
    "late on the pool",
    "final",
    "final by ranks instead",
)


def load(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return result


def table(header: list[str], rows: list[list[object]]) -> str:
    lines = [header, ["---"] * len(header), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine(result: dict[str, Any]) -> str:
    described = result["machine"]
    sets = ", ".join(described["instruction sets"])
    return f"{described['processor']}, {described['cores']} cores, {sets}"


def quality() -> str:
    result = load("quality")["collections"]
    collections = [name.removesuffix(" int8") for name in result if name.endswith(" int8")]

    def row(label: str, precision: str, stage: str, measure: str) -> list[object]:
        measured = [result.get(f"{name} {precision}") for name in collections]
        cells = [f"{one['stages'][stage][measure]:.3f}" if one else "–" for one in measured]
        return [label, *(f"**{cell}**" if label == "**final**" else cell for cell in cells)]

    rows = [row("**final**" if stage == "final" else stage, "int8", stage, "nDCG@10") for stage in STAGES]
    rows.append(row("final, f32", "f32", "final", "nDCG@10"))
    rows.append(row("final, Recall@100", "int8", "final", "R@100"))
    return table(["nDCG@10", *collections], rows)


def speed() -> str:
    result = load("speed")
    rates = result["documents per core-second"]
    rows: list[list[object]] = [
        ["three heads in one pass, int8", f"{rates['three heads, int8']} documents / core-second"],
        ["three heads in one pass, f32", f"{rates['three heads, f32']} documents / core-second"],
        [
            "three models through sentence-transformers, f32",
            f"{rates['three models, sentence-transformers']} documents / core-second",
        ],
        ["… ratio, int8 · f32", f"{result['ratio (a), int8']} × · {result['ratio (a), f32']} ×"],
        [
            "… ratio to the same sparse head alone with all logits at once, int8 · f32",
            f"{result['ratio (b), int8']} × · {result['ratio (b), f32']} ×",
        ],
        [
            "one query, int8 · f32",
            f"{result['query milliseconds']['int8']} ms · {result['query milliseconds']['f32']} ms",
        ],
        [
            "memory above the model, 64 documents of 256 tokens",
            f"{result['megabytes above the model, 64 documents of 256 tokens']} MB",
        ],
    ]
    return f"{result['tokens each']} word pieces a document, one thread; {machine(result)}.\n\n" + table(["", ""], rows)


def end_to_end() -> str:
    results = [
        load(path.stem)
        for path in sorted(RESULTS.glob("end_to_end_*.json"), key=lambda path: int(path.stem.split("_")[-1]))
    ]

    def latency(name: str) -> list[object]:
        return [
            f"{r['milliseconds compacted'][name]['p50']} / {r['milliseconds compacted'][name]['p95']} ms"
            for r in results
        ]

    rows: list[list[object]] = [
        ["indexed per second, both cores", *(r["documents per second"] for r in results)],
        ["bytes a passage on disk, compacted", *(f"{r['bytes a passage, compacted']:,}" for r in results)],
        *(
            [f"{name}, p50 / p95", *latency(name)]
            for name in ("encode", "dense", "sparse", "rerank 100", "whole", "whole, filtered")
        ),
        [
            "whole before compacting",
            *(
                f"{r['milliseconds as indexed']['whole']['p50']} / {r['milliseconds as indexed']['whole']['p95']} ms"
                for r in results
            ),
        ],
        ["resident memory", *(f"{r['resident megabytes']} MB" for r in results)],
        [
            "open and first search, new process",
            *(f"{r['cold start seconds']['open and first search']} s" for r in results),
        ],
        ["`import tercet`", *(f"{r['cold start seconds']['import tercet']} s" for r in results)],
    ]
    return table(["embedded index", *(f"{r['passages']:,} passages" for r in results)], rows)


def crash() -> str:
    result = load("kill")
    completed = result["indexes that opened and were completed"]
    return (
        f"`kill -9` in the middle of `add`, {result['kills']} times ({result['acknowledged documents']:,} documents "
        f"acknowledged before): {result['lost']} lost, {completed} of {result['kills']} indexes opened and were "
        f"completed by a second `add`, {result['duplicates']} duplicates."
    )


def parity() -> str:
    result = load("parity")["cosine with sentence-transformers"]
    return (
        f"The dense vectors against sentence-transformers' of the same trunk over real texts, least · mean cosine: "
        f"f32 {result['f32']['least cosine']:.5f} · {result['f32']['mean cosine']:.5f}, "
        f"int8 {result['int8']['least cosine']:.4f} · {result['int8']['mean cosine']:.4f}."
    )


def final_orders() -> str:
    """Every way to join the three rankings, by which the default was chosen."""
    result = load("quality")["collections"]
    names = [name for name in result if name.endswith(" int8")]
    exact = [name for name in result if name.endswith(" f32")]

    def cells(name: str, order: str) -> str:
        return f"{result[name]['final orders'][order]:.3f}"

    orders = list(result[names[0]]["final orders"])
    best = ["best single head", *(_best_head(result[name]) for name in [*names, *exact])]
    rows = [[order, *(cells(name, order) for name in [*names, *exact])] for order in orders]
    return table(["nDCG@10", *names, *exact], [best, *rows])


def storage() -> str:
    """Each way of keeping token vectors: how much it takes, how well it ranks, how long a rerank is."""
    collections = load("storage")["collections"]
    ways = list(next(iter(collections.values()))["storage"])

    def figures(way: str, name: str) -> list[float]:
        return [one["storage"][way][name] for one in collections.values()]

    def share(way: str, name: str) -> str:
        whole = sum(figures(ways[0], name))
        return f"{100 * sum(figures(way, name)) / whole:.0f} %"

    rows: list[list[object]] = [
        [
            way.removeprefix("merged "),
            share(way, "bytes late"),
            share(way, "bytes all"),
            *(f"{value:.3f}" for value in figures(way, "nDCG@10 late")),
            *(f"{value:.3f}" for value in figures(way, "nDCG@10 final")),
            " · ".join(f"{value:.1f}" for value in figures(way, "time of a rerank")),
        ]
        for way in ways
    ]
    names = [f"{stage}, {name}" for stage in ("late", "final") for name in collections]
    whole = [f"{one['storage'][ways[0]]['bytes late'] / 1000:.1f} of" for one in collections.values()]
    whole_all = [f"{one['storage'][ways[0]]['bytes all'] / 1000:.1f}" for one in collections.values()]
    kilobytes = ", ".join(
        f"{late} {every} kB ({name})" for name, late, every in zip(collections, whole, whole_all, strict=True)
    )
    merging = ", ".join(
        f"{times['× 2']:.1f} ms ({times['tokens']:.0f} tokens, {name})"
        for name, times in ((name, one["milliseconds to merge a passage"]) for name, one in collections.items())
    )
    note = f"A passage takes with all its tokens at 16 bits {kilobytes}. Merging × 2 takes {merging}."
    return table(["merged, bits", "bytes late", "bytes all", *names, "time of a rerank"], rows) + "\n\n" + note


def _best_head(measured: dict[str, Any]) -> str:
    return f"{max(measured['stages'][head]['nDCG@10'] for head in ('dense', 'sparse', 'late alone')):.3f}"


TABLES = {
    "quality": quality,
    "speed": speed,
    "end_to_end": end_to_end,
    "crash": crash,
    "parity": parity,
    "final_orders": final_orders,
    "storage": storage,
}
PAGES = (ROOT / "README.md", ROOT / "docs" / "model.md", ROOT / "docs" / "storage.md")


def filled(text: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """The text with every marked part replaced by today's results."""
    for name, make in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text = re.sub(pattern, lambda match, make=make: f"{match[1]}{make()}\n{match[2]}", text, flags=re.DOTALL)
    return text


def main() -> None:
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
